package recipe

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Template is a text with `{name}` where a value goes. `{{` and `}}` stand for the braces themselves. Names are of
// [a-zA-Z0-9_.:@-], so that parameters, paths into an item, `env:NAME` and `@hash` are all names. `{+name}` is a value that keeps its
// slashes where it stands in a path (RFC 6570, 3.2.3); elsewhere the sign means nothing.
type Template struct{ parts []part }

// part is a literal text, or the name of a value.
type part struct {
	text    string
	name    bool
	slashes bool // name: the value may be several segments of a path
}

// ParseTemplate reads a template. Its error is half a sentence that says what is wrong with the text, without quoting more of it
// than a name.
func ParseTemplate(text string) (Template, error) {
	var t Template
	var literal strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '{' && c != '}' {
			literal.WriteByte(c)
			continue
		}
		if i+1 < len(text) && text[i+1] == c {
			literal.WriteByte(c)
			i++
			continue
		}
		if c == '}' {
			return Template{}, errors.New("has a } without its {; a brace itself is written }}")
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return Template{}, errors.New("has a { without its }; a brace itself is written {{")
		}
		name, slashes := strings.CutPrefix(text[i+1:i+end], "+")
		if !validName(name) {
			return Template{}, fmt.Errorf("has {%.40q} where a name of letters, digits and _ . : @ - should stand; a brace itself is written {{",
				name)
		}
		if literal.Len() > 0 {
			t.parts = append(t.parts, part{text: literal.String()})
			literal.Reset()
		}
		t.parts = append(t.parts, part{text: name, name: true, slashes: slashes})
		i += end
	}
	if literal.Len() > 0 {
		t.parts = append(t.parts, part{text: literal.String()})
	}
	return t, nil
}

func validName(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_.:@-", c) >= 0:
		default:
			return false
		}
	}
	return name != ""
}

// Names lists the names in the template, each once, in the order of their first use.
func (t Template) Names() []string {
	var names []string
	for _, p := range t.parts {
		if p.name && !slices.Contains(names, p.text) {
			names = append(names, p.text)
		}
	}
	return names
}

// MissingError says that a template has a name for which there is no value.
type MissingError struct{ Name string }

func (e *MissingError) Error() string { return fmt.Sprintf("there is no value for {%s}", e.Name) }

// Expand puts values in. Its only error is a *MissingError.
func (t Template) Expand(lookup func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		text := p.text
		if p.name {
			var ok bool
			if text, ok = lookup(p.text); !ok {
				return "", &MissingError{p.text}
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// ExpandURL puts values into the template of a URL: a value at its very start stands as it is (it is an address, whose last
// slash counts once), any other is escaped for its place in the path or in the query. Its only error is a *MissingError.
func (t Template) ExpandURL(lookup func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	query := false
	for i, p := range t.parts {
		text := p.text
		if p.name {
			var ok bool
			if text, ok = lookup(p.text); !ok {
				return "", &MissingError{p.text}
			}
			switch {
			case i > 0 && query:
				text = url.QueryEscape(text)
			case i > 0 && p.slashes:
				text = strings.ReplaceAll(url.PathEscape(text), "%2F", "/")
			case i > 0:
				text = url.PathEscape(text)
			case len(t.parts) > 1 && strings.HasPrefix(t.parts[1].text, "/") && !t.parts[1].name:
				text = strings.TrimSuffix(text, "/")
			}
		}
		query = query || strings.Contains(text, "?")
		b.WriteString(text)
	}
	return b.String(), nil
}
