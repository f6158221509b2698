package event

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

const redacted = "[redacted]"

// Secret is a text that must not be shown: a key, a token, a password. Whatever prints, logs or marshals it gets
// "[redacted]"; only Reveal gives the text.
type Secret struct{ text string }

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text itself, for the one place that must send it.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == "" }

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Redact replaces every secret in text by "[redacted]", as it stands and as a URL would carry it. Use it on whatever came
// from outside before it is shown: an API's error body may quote the request. Secrets shorter than four characters are left:
// replacing them would garble everything and hide nothing.
func Redact(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if len(s.text) < 4 {
			continue
		}
		text = strings.ReplaceAll(text, s.text, redacted)
		if q := url.QueryEscape(s.text); q != s.text {
			text = strings.ReplaceAll(text, q, redacted)
		}
	}
	return text
}
