package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"tidings/event"
)

// scalar is a value that is no list and no mapping, as its reader sees it.
type scalar struct {
	text         string         // with what it refers to put in
	quoted       bool           // text in the file, whatever it looks like
	interpolated bool           // text holds something from outside the file, perhaps a secret
	written      string         // as the file has it
	outside      []event.Secret // what was put in
}

// show names the scalar in a problem: as it is written, so that nothing from outside the file is shown.
func (s scalar) show() string {
	written := s.written
	if r := []rune(written); len(r) > 60 {
		written = string(r[:60]) + "…"
	}
	if s.interpolated {
		return fmt.Sprintf("the value of %q", written)
	}
	return strconv.Quote(written)
}

// written returns the text of a scalar as the file has it.
func written(v value) (text string, quoted, ok bool) {
	switch n := v.node.(type) {
	case *ast.StringNode:
		t := n.GetToken().Type
		return n.Value, v.text || t == token.SingleQuoteType || t == token.DoubleQuoteType, true
	case *ast.LiteralNode:
		return n.Value.Value, true, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, v.text, true
	}
	return "", false, false
}

// scalar reads any scalar; want is what it should be, for the problem that it is none.
func (d *decoder) scalar(v value, want string) (scalar, bool) {
	raw, quoted, ok := written(v)
	if !ok {
		d.wrong(v, want)
		return scalar{}, false
	}
	s := scalar{written: raw, quoted: quoted}
	parts, err := split(raw, "${")
	if err != nil {
		d.problem(v, "%v", err)
		return s, false
	}
	var text strings.Builder
	for _, p := range parts {
		if p.kind == "" {
			text.WriteString(p.text)
			continue
		}
		s.interpolated = true
		resolved, found := d.resolve(v, p)
		ok = ok && found
		s.outside = append(s.outside, event.NewSecret(resolved))
		text.WriteString(resolved)
	}
	s.text = text.String()
	return s, ok
}

// shown reads a scalar that status and logs show, and that therefore holds no credential.
func (d *decoder) shown(v value, want string) (scalar, bool) {
	if raw, _, ok := written(v); ok {
		parts, _ := split(raw, "${")
		for _, p := range parts {
			if p.kind == "credential" {
				d.problem(v, "has a credential, but this value is shown in status and logs: write it out, or use ${env:NAME}")
				return scalar{}, false
			}
		}
	}
	s, ok := d.scalar(v, want)
	if ok && s.text == "" {
		d.problem(v, "%s is empty: write %s", subject(s), want)
		return s, false
	}
	return s, ok
}

func subject(s scalar) string {
	if s.interpolated {
		return s.show()
	}
	return "the value"
}

// text reads text that may be shown.
func (d *decoder) text(v value, want string) (scalar, bool) {
	switch v.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		if !v.text {
			d.problem(v, "is %s, and must be %s: write it in quotes", describe(v), want)
			return scalar{}, false
		}
	}
	s, ok := d.shown(v, want)
	if ok && strings.ContainsRune(s.text, 0) {
		d.problem(v, "%s has a NUL character in it: remove it", subject(s))
		return s, false
	}
	return s, ok
}

// secret reads any scalar as text that is never shown; a number is taken as it is written.
func (d *decoder) secret(v value, want string) (event.Secret, bool) {
	s, ok := d.scalar(v, want)
	if ok && s.text == "" {
		d.problem(v, "%s is empty: write %s, or remove the key", subject(s), want)
		return event.Secret{}, false
	}
	return event.NewSecret(s.text), ok
}

// secrets reads a mapping of names to secrets.
func (d *decoder) secrets(v value, want string) map[string]event.Secret {
	found := map[string]event.Secret{}
	for _, e := range d.entries(v) {
		d.seen[e.path] = e.value
		if s, ok := d.secret(e.value, want); ok {
			found[e.key] = s
		}
	}
	return found
}

// oneOf reads one of a few words into to.
func (d *decoder) oneOf(to *string, words ...string) func(value) {
	return func(v value) {
		want := "one of " + strings.Join(words, ", ")
		s, ok := d.text(v, want)
		if !ok {
			return
		}
		if slices.Contains(words, s.text) {
			*to = s.text
			return
		}
		if near := nearest(s.text, words); near != "" && !s.interpolated {
			want = near
		}
		d.problem(v, "is %s, and must be %s", s.show(), want)
	}
}

// integer reads a whole number into to.
func (d *decoder) integer(to *int, least, most int) func(value) {
	return func(v value) {
		want := fmt.Sprintf("a whole number from %d to %d", least, most)
		s, ok := d.shown(v, want)
		if !ok || d.numberInQuotes(v, s, want) {
			return
		}
		n, err := strconv.Atoi(s.text)
		if err != nil || n < least || n > most {
			d.problem(v, "is %s, and must be %s", s.show(), want)
			return
		}
		*to = n
	}
}

// number reads a number into to.
func (d *decoder) number(to *float64, least, most float64) func(value) {
	return func(v value) {
		want := fmt.Sprintf("a number from %v to %v", least, most)
		s, ok := d.shown(v, want)
		if !ok || d.numberInQuotes(v, s, want) {
			return
		}
		n, err := strconv.ParseFloat(s.text, 64)
		if err != nil || !(n >= least && n <= most) {
			d.problem(v, "is %s, and must be %s", s.show(), want)
			return
		}
		*to = n
	}
}

func (d *decoder) numberInQuotes(v value, s scalar, want string) bool {
	if s.quoted && !s.interpolated {
		d.problem(v, "is the text %s, and must be %s: write it without quotes", s.show(), want)
		return true
	}
	return false
}

// globs reads a list of globs into to. It must not be empty: it would pass nothing.
func (d *decoder) globs(to *event.Filter) func(value) {
	return func(v value) {
		if filter, ok := d.texts(v, `a glob of event types, such as "*" or tariff.*`); ok {
			*to = filter
		}
	}
}

// texts reads a list of texts that is not empty; want is what each of them should be.
func (d *decoder) texts(v value, want string) ([]string, bool) {
	items := d.items(v)
	if items == nil {
		return nil, false
	}
	if len(items) == 0 {
		d.problem(v, "is an empty list, which passes nothing: write %s in it, or remove the key", want)
		return nil, false
	}
	var texts []string
	for _, item := range items {
		if s, ok := d.text(item, want); ok {
			texts = append(texts, s.text)
		}
	}
	return texts, len(texts) == len(items)
}

// boolean reads true or false into to.
func (d *decoder) boolean(to *bool) func(value) {
	return func(v value) {
		if n, ok := v.node.(*ast.BoolNode); ok && !v.text {
			*to = n.Value
			return
		}
		d.wrong(v, "true or false")
	}
}
