package config

import (
	"net/url"
	"strings"
	"unicode"

	"tidings/event"
	"tidings/recipe"
)

// httpSource makes s of a recipe that stands in the file.
func (d *decoder) httpSource(v value, s *Source) {
	before := len(d.problems)
	d.object(v, d.httpTable(&s.HTTP, s))
	for _, p := range s.HTTP.Problems() {
		if path := join(v.path, p.Path); !d.broken[path] {
			at := d.at(path)
			d.problem(at, "%s", p.Text)
		}
	}
	for _, ref := range s.HTTP.Refs() {
		if _, ok := s.Values[ref.Name]; !ok {
			d.problem(d.at(join(v.path, ref.Path)),
				"has {%s}, which has no value here: write ${env:NAME} for a value, {{ for a brace", ref.Name)
		}
	}
	if len(d.problems) > before {
		return
	}
	t, err := recipe.ParseTemplate(s.HTTP.URL)
	if err != nil {
		return // a problem of the recipe
	}
	address, err := t.ExpandURL(func(name string) (string, bool) { return s.Values[name].Reveal(), true })
	if err != nil {
		return // likewise
	}
	if u, ok := d.address(d.at(join(v.path, "url")), address); ok {
		s.Identity = httpIdentity(s.HTTP.URL, u)
	}
}

// httpIdentity is the list's address without its query. A path that comes from outside the file may hold a key and stands as
// its hash; an origin is no secret, so that writing a host as ${env:HOST} leaves the identity as it was.
func httpIdentity(template string, u *url.URL) string {
	literal, _, _ := strings.Cut(template, "?")
	if path := u.EscapedPath(); strings.HasSuffix(literal, path) {
		return recipe.Origin(u) + path
	}
	return recipe.Origin(u) + "/" + hash(u.EscapedPath())
}

// httpTable is the recipe's format (recipe.HTTP). Templates in it get their values into s.Values.
func (d *decoder) httpTable(h *recipe.HTTP, s *Source) table {
	return table{what: "an http source", fields: []field{
		{"url", d.template(&h.URL, s)},
		{"method", d.plain(&h.Method, "GET or POST")},
		{"query", d.templates(&h.Query, s)},
		{"headers", d.templates(&h.Headers, s)},
		{"auth", func(v value) { d.auth(v, &h.Auth, s) }},
		{"items", d.plain(&h.Items, "the path to the events in the response, such as data")},
		{"id", d.plain(&h.ID, "a path into an event, such as id")},
		{"type", d.plain(&h.Type, "a path into an event, such as type")},
		{"time", d.plain(&h.Time, "a path into an event, such as created")},
		{"position", d.plain(&h.Position, "head_walk")},
		{"paging", func(v value) {
			d.object(v, table{what: "paging", fields: []field{
				{"param", d.plain(&h.Paging.Param, "the name of a query parameter")},
				{"cursor", d.plain(&h.Paging.Cursor, "last_id, or the path to the next cursor in the response")},
				{"more", d.plain(&h.Paging.More, "the path to a boolean in the response")},
				{"limit", d.plain(&h.Paging.Limit, "the name of a query parameter")},
				{"size", d.integer(&h.Paging.Size, 1, 10_000)},
			}})
		}},
		{"errors", func(v value) { d.errorRules(v, &h.Errors) }},
		{"fetch_one", d.template(&h.FetchOne, s)},
	}}
}

func (d *decoder) auth(v value, a *recipe.Auth, s *Source) {
	d.object(v, table{
		what: "auth",
		fields: []field{
			{"bearer", d.template(&a.Bearer, s)},
			{"basic", func(v value) {
				a.Basic = new(recipe.Basic)
				d.object(v, d.basicTable(a.Basic, s))
			}},
			{"header", func(v value) {
				a.Header = new(recipe.Header)
				d.object(v, table{what: "auth.header", fields: []field{
					{"name", d.plain(&a.Header.Name, "the name of a header")},
					{"value", d.template(&a.Header.Value, s)},
				}})
			}},
			{"login", func(v value) {
				l := new(recipe.Login)
				a.Login = l
				d.object(v, table{what: "auth.login", fields: []field{
					{"method", d.plain(&l.Method, "GET or POST")},
					{"url", d.template(&l.URL, s)},
					{"basic", func(v value) {
						l.Basic = new(recipe.Basic)
						d.object(v, d.basicTable(l.Basic, s))
					}},
					{"token", d.plain(&l.Token, "the path to the token in the answer")},
					{"expires_in", d.plain(&l.ExpiresIn, "the path to the token's life in seconds")},
				}})
			}},
		},
	})
}

func (d *decoder) basicTable(b *recipe.Basic, s *Source) table {
	return table{what: "basic", fields: []field{
		{"user", d.template(&b.User, s)},
		{"password", d.template(&b.Password, s)},
	}}
}

func (d *decoder) errorRules(v value, to *[]recipe.ErrorRule) {
	for _, item := range d.items(v) {
		var r recipe.ErrorRule
		d.object(item, table{what: "a rule of errors", fields: []field{
			{"status", d.integer(&r.Status, 200, 599)},
			{"path", d.plain(&r.Path, "a path into the answer")},
			{"equals", d.plain(&r.Equals, "the text that stands at path")},
			{"means", d.plain(&r.Means, "refused, limited or lost")},
		}})
		*to = append(*to, r)
	}
}

// plain reads text that may be shown into to.
func (d *decoder) plain(to *string, want string) func(value) {
	return func(v value) {
		if s, ok := d.text(v, want); ok {
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
