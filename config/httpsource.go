package config

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"tidings/event"
	"tidings/recipe"
)

// httpSource makes s of a recipe that stands in the file, v being the source.
func (d *decoder) httpSource(v value, found map[string]value, s *Source) {
	before := len(d.problems)
	d.object(found["http"], d.httpTable(&s.HTTP, s))
	feeds, several := found["feeds"]
	if several {
		d.feeds(feeds, s)
	}
	for _, p := range recipe.Problems(&s.HTTP, s.Feeds) {
		if path := join(v.path, p.Path); !d.brokenAround(path) {
			d.problem(d.at(path), "%s", p.Text)
		}
	}
	for _, ref := range recipe.Refs(&s.HTTP, s.Feeds) {
		if _, ok := s.Values[ref.Name]; !ok {
			d.problem(d.at(join(v.path, ref.Path)),
				"has {%s}, which has no value here: write ${env:NAME} for a value, {{ for a brace", ref.Name)
		}
	}
	if len(d.problems) > before {
		return
	}
	at := d.at(join(v.path, "http.url"))
	u, ok := d.expanded(at, s.HTTP.URL, s)
	if !ok {
		return
	}
	s.Identity = httpIdentity(s.HTTP.URL, s.Values, u)
	list := s.HTTP.URL
	d.identify = func(values map[string]event.Secret) string {
		address, err := fill(list, values)
		if err != nil {
			return ""
		}
		u, err := url.Parse(address)
		if err != nil {
			return ""
		}
		return httpIdentity(list, values, u)
	}
	for i, feed := range s.Feeds {
		at := d.at(join(v.path, fmt.Sprintf("feeds[%d].url", i)))
		if of, ok := d.expanded(at, feed.URL, s); ok && recipe.Origin(of) != recipe.Origin(u) {
			d.problem(at, "is of another origin than http.url: credentials go to one origin only, so scheme, host and port must be the same")
		}
	}
}

// expanded puts values into the template of an address, which v says.
func (d *decoder) expanded(v value, template string, s *Source) (*url.URL, bool) {
	address, err := fill(template, s.Values)
	if err != nil {
		return nil, false // a problem of the recipe
	}
	return d.address(v, address)
}

func fill(template string, values map[string]event.Secret) (string, error) {
	t, err := recipe.ParseTemplate(template)
	if err != nil {
		return "", err
	}
	return t.ExpandURL(func(name string) (string, bool) { return values[name].Reveal(), true })
}

func (d *decoder) feeds(v value, s *Source) {
	items := d.items(v)
	if len(items) == 0 && !d.broken[v.path] {
		d.problem(v, "is an empty list: write the source's lists in it, or remove the key")
	}
	s.Feeds = make([]recipe.Feed, len(items))
	for i, item := range items {
		f := &s.Feeds[i]
		t := d.httpTable(&f.HTTP, s)
		t.what = "a feed"
		t.fields = append([]field{{"name", d.plain(&f.Name, "the feed's name")}}, t.fields...)
		d.object(item, t)
	}
}

// httpIdentity is the list's address without its query. A value in its path that comes from outside the file may be a key and stands as
// its hash; an origin is no secret, so that writing a host as ${env:HOST} leaves the identity as it was. What each request puts in itself
// stands as {cursor}, say.
func httpIdentity(list string, values map[string]event.Secret, u *url.URL) string {
	list, _, _ = strings.Cut(list, "?")
	path, own := "", ""
	if _, rest, literal := strings.Cut(list, "://"); literal {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			path = rest[i:]
		}
	} else { // it begins with a value that has the origin, and perhaps a path
		var name string
		name, path, _ = strings.Cut(list, "}")
		if base, err := url.Parse(values[strings.TrimLeft(name, "{+")].Reveal()); err == nil {
			own = strings.Trim(base.EscapedPath(), "/")
		}
	}
	if own != "" {
		own = "/" + hash(own)
	}
	t, err := recipe.ParseTemplate(path)
	if err != nil {
		return ""
	}
	shown, _ := t.Expand(func(name string) (string, bool) { // every name has a text
		if value, outside := values[name]; outside {
			return hash(value.Reveal()), true
		}
		return "{" + name + "}", true
	})
	return recipe.Origin(u) + own + shown
}

// plain reads text that may be shown into to.
func (d *decoder) plain(to *string, want string) func(value) {
	return func(v value) {
		if s, ok := d.text(v, want); ok {
			*to = s.text
		}
	}
}

// span reads a duration that a recipe has as text; what is wrong with it the recipe says.
func (d *decoder) span(to *string, want string) func(value) {
	return func(v value) {
		if s, ok := d.shown(v, want); ok {
			*to = s.text
		}
	}
}

// template reads a recipe's template into to. What it refers to outside the file becomes a parameter of the recipe: the
// template holds the parameter's name, s.Values its value, so that the recipe holds no secret and braces in a value mean
// nothing.
func (d *decoder) template(to *string, s *Source) func(value) {
	return func(v value) {
		raw, _, ok := written(v)
		if !ok {
			d.wrong(v, "text")
			return
		}
		parts, err := split(raw, "${{")
		if err != nil {
			d.problem(v, "%v", err)
			return
		}
		var text strings.Builder
		for _, p := range parts {
			if p.kind == "" {
				text.WriteString(p.text)
				continue
			}
			resolved, ok := d.resolve(v, p)
			switch {
			case ok && resolved == "":
				d.problem(v, "the value of %q is empty: give it one, or remove the key", raw)
			case strings.ContainsFunc(resolved, unicode.IsControl):
				d.problem(v, "the value of %q has a line break or another control character, which a request can't have: remove it", raw)
			}
			name := parameter(p)
			s.Values[name] = event.NewSecret(resolved)
			d.rereadableAs(name, p)
			text.WriteString("{" + name + "}")
		}
		if *to = text.String(); *to == "" {
			d.problem(v, "the value is empty: write it, or remove the key")
		}
	}
}

// parameter names the recipe's parameter for a reference: env:NAME, and a hash in place of what a template's name can't hold.
func parameter(p part) string {
	name := p.text
	if strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-", r))
	}) {
		name = hash(name)
	}
	return p.kind + ":" + name
}

// templates reads a mapping of names to templates into to.
func (d *decoder) templates(to *map[string]string, s *Source) func(value) {
	return func(v value) {
		*to = map[string]string{}
		for _, e := range d.entries(v) {
			d.seen[e.path] = e.value
			var text string
			d.template(&text, s)(e.value)
			(*to)[e.key] = text
		}
	}
}
