package recipe

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func lookup(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

func TestTemplateExpand(t *testing.T) {
	values := lookup(map[string]string{"a": "1", "env:KEY": "{a}", "data.0.x-y_z": "3"})
	for text, want := range map[string]string{
		"":                   "",
		"plain":              "plain",
		"{a}":                "1",
		"x{a}{a}y":           "x11y",
		"{{a}}":              "{a}",
		"{{{a}}}":            "{1}",
		"{env:KEY}/{{":       "{a}/{", // a value is never read as a template
		"{data.0.x-y_z}@{a}": "3@1",
		"é{a}\x00\xff":       "é1\x00\xff",
		"}}{{":               "}{",
	} {
		tpl, err := ParseTemplate(text)
		if err != nil {
			t.Errorf("ParseTemplate(%q): %v", text, err)
			continue
		}
		if got, err := tpl.Expand(values); got != want || err != nil {
			t.Errorf("Expand(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{", "}", "{a", "a}", "{}", "{a b}", "{+}", "{a+}", "{a{b}}", "{ü}", "{a}}", "{{a}"} {
		if _, err := ParseTemplate(text); err == nil {
			t.Errorf("ParseTemplate(%q) is taken", text)
		}
	}
}

func TestTemplateNamesAndMissing(t *testing.T) {
	tpl, err := ParseTemplate("{b}{+a}/{b}")
	if err != nil || !slices.Equal(tpl.Names(), []string{"b", "a"}) {
		t.Fatal(tpl.Names(), err)
	}
	_, err = tpl.Expand(lookup(map[string]string{"b": ""}))
	if missing, ok := errors.AsType[*MissingError](err); !ok || missing.Name != "a" {
		t.Fatal(err)
	}
	_, err = tpl.ExpandURL(lookup(map[string]string{"b": ""}))
	if missing, ok := errors.AsType[*MissingError](err); !ok || missing.Name != "a" {
		t.Fatal(err)
	}
}

func TestTemplateExpandURL(t *testing.T) {
	values := lookup(map[string]string{"base": "https://a.example/v1/", "id": "a/b?c&d=e#f %", "q": "https://x/?y"})
	for text, want := range map[string]string{
		"{base}":                    "https://a.example/v1/",
		"{base}/e":                  "https://a.example/v1/e",
		"{base}e/{id}":              "https://a.example/v1/e/a%2Fb%3Fc&d=e%23f%20%25",
		"https://b.example/?i={id}": "https://b.example/?i=a%2Fb%3Fc%26d%3De%23f+%25",
		"{base}/{+id}/e?{+id}":      "https://a.example/v1/a/b%3Fc&d=e%23f%20%25/e?a%2Fb%3Fc%26d%3De%23f+%25",
		"{q}={id}":                  "https://x/?y=a%2Fb%3Fc%26d%3De%23f+%25",
	} {
		tpl, err := ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tpl.ExpandURL(values); got != want || err != nil {
			t.Errorf("ExpandURL(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"", "{a}", "{{", "{base_url}/events/{id}", "{{{a}}}", "{a", "}", "{env:X}\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		// Each name replaced by itself in braces, and braces doubled, gives the template back.
		double := strings.NewReplacer("{", "{{", "}", "}}")
		var b strings.Builder
		for _, p := range tpl.parts {
			if p.name && p.slashes {
				b.WriteString("{+" + p.text + "}")
			} else if p.name {
				b.WriteString("{" + p.text + "}")
			} else {
				b.WriteString(double.Replace(p.text))
			}
		}
		if b.String() != text {
			t.Fatalf("%q was read as %q", text, b.String())
		}
		got, err := tpl.Expand(func(string) (string, bool) { return "", true })
		if err != nil || len(got) > len(text) {
			t.Fatalf("Expand(%q) = %q, %v", text, got, err)
		}
		if _, err := tpl.Expand(func(string) (string, bool) { return "", false }); (err != nil) != (len(tpl.Names()) > 0) {
			t.Fatalf("names %q, error %v", tpl.Names(), err)
		}
		if _, err := tpl.ExpandURL(func(string) (string, bool) { return "?/", true }); err != nil {
			t.Fatal(err)
		}
	})
}
