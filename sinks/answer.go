package sinks

import (
	"slices"
	"strings"
	"unicode"

	"tidings/event"
)

const answerLimit = 16 << 10

// answer keeps the end of what a destination says. It takes a little more than it shows, so that no secret is shown for
// being cut in two.
type answer struct {
	secrets []event.Secret
	buf     []byte
	cut     bool
}

// Write never fails.
func (a *answer) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	if keep := answerLimit + a.margin(); len(a.buf) > 2*keep {
		a.buf = append(a.buf[:0], a.buf[len(a.buf)-keep:]...)
		a.cut = true
	}
	return len(p), nil
}

func (a *answer) margin() int {
	longest := 0
	for _, s := range a.secrets {
		longest = max(longest, 3*len(s.Reveal())) // as a URL carries it
	}
	return longest
}

// longestFirst orders secrets so that none is hidden in part by hiding another that it begins with.
func longestFirst(secrets []event.Secret) {
	slices.SortStableFunc(secrets, func(a, b event.Secret) int { return len(b.Reveal()) - len(a.Reveal()) })
}

// String is at most the last 16 KiB, secrets replaced.
func (a *answer) String() string {
	text := event.Redact(string(a.buf), a.secrets...)
	if a.cut {
		text = text[min(a.margin(), len(text)):]
	}
	return strings.ToValidUTF8(text[max(0, len(text)-answerLimit):], "\uFFFD")
}

// lastLine is the last line that says something, as part of a sentence.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return oneLine(strings.TrimSpace(text[strings.LastIndexAny(text, "\r\n")+1:]))
}

// oneLine is text as part of a sentence: without control characters, and not long.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return text
}
