package sources

import (
	"cmp"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"tidings/event"
)

const (
	excerptLen  = 200     // bytes of an answer that an error quotes
	excerptScan = 8 << 10 // bytes of it that are looked through for secrets
)

// veil takes secrets out of texts that are shown. It knows them in the forms in which an answer may quote them.
type veil struct{ secrets []event.Secret } // longest first, so that none leaves a piece of a longer one

func newVeil(texts ...string) veil {
	return veil{}.with(texts...)
}

// with returns a veil that hides these texts too.
func (v veil) with(texts ...string) veil {
	var forms []string
	for _, s := range v.secrets {
		forms = append(forms, s.Reveal())
	}
	for _, s := range texts {
		forms = append(forms, s, url.PathEscape(s), url.QueryEscape(s), jsonEscape(s))
	}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	v.secrets = nil
	for _, s := range slices.Compact(forms) {
		if s != "" {
			v.secrets = append(v.secrets, event.NewSecret(s))
		}
	}
	return v
}

func jsonEscape(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(quoted[1 : len(quoted)-1])
}

// text is s without secrets, on one line. Of a text that holds one in a disguise nothing is shown.
func (v veil) text(s string) string {
	s = event.Redact(s, v.secrets...)
	if v.disguised(s) {
		return "[redacted]"
	}
	return printable(s)
}

// disguised reports whether a text holds a secret in a form that is not found byte for byte.
func (v veil) disguised(s string) bool {
	for range 3 { // escaped once, and again by who passes it on
		s = unescape(s)
		spaced := strings.ReplaceAll(s, "+", " ")
		if event.Redact(s, v.secrets...) != s || event.Redact(spaced, v.secrets...) != spaced {
			return true
		}
	}
	return false
}

var escaped = regexp.MustCompile(`%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\.`)

// unescape undoes what URLs, JSON and HTML do to a text, wherever it looks like it.
func unescape(s string) string {
	return html.UnescapeString(escaped.ReplaceAllStringFunc(s, func(e string) string {
		switch {
		case e[0] == '%':
			n, _ := strconv.ParseUint(e[1:], 16, 8) // the pattern lets nothing else in
			return string([]byte{byte(n)})
		case len(e) > 2 && e[1] == 'u':
			n, _ := strconv.ParseUint(e[2:], 16, 16)
			return string(rune(n))
		default:
			return e[1:]
		}
	}))
}

// excerpt is the beginning of an answer's body, without secrets.
func (v veil) excerpt(body string) string {
	if len(body) > excerptScan {
		body = body[:excerptScan]
	}
	return cut(v.text(v.dropTail(body)), excerptLen)
}

// dropTail cuts off the first part of a secret whose rest is missing, because the answer or our reading of it ends there.
func (v veil) dropTail(s string) string {
	drop := 0
	for _, secret := range v.secrets {
		t := secret.Reveal()
		for n := min(len(t)-1, len(s)); n >= 4; n-- {
			if strings.HasSuffix(s, t[:n]) {
				drop = max(drop, n)
				break
			}
		}
	}
	return s[:len(s)-drop]
}

// printable puts a space for each run of what a terminal or a log line should not be given.
func printable(s string) string {
	var b strings.Builder
	space := false
	for _, c := range s {
		if c == utf8.RuneError || unicode.IsSpace(c) || !unicode.IsPrint(c) {
			space = true
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(c)
	}
	return b.String()
}

// cut shortens a text to n bytes and says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
