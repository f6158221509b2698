package recipe

import (
	"maps"
	"slices"
)

// Ref is one use of a parameter.
type Ref struct {
	Path string // of the template that uses it, as in Problem
	Name string
}

// Refs lists the parameters that the recipe's templates use, `{id}` of FetchOne not among them.
func (h *HTTP) Refs() []Ref {
	var refs []Ref
	add := func(path, text string) {
		t, err := ParseTemplate(text)
		if err != nil {
			return
		}
		for _, name := range t.Names() {
			if path != "fetch_one" || name != "id" {
				refs = append(refs, Ref{path, name})
			}
		}
	}
	add("url", h.URL)
	for _, key := range slices.Sorted(maps.Keys(h.Query)) {
		add("query."+key, h.Query[key])
	}
	for _, key := range slices.Sorted(maps.Keys(h.Headers)) {
		add("headers."+key, h.Headers[key])
	}
	add("auth.bearer", h.Auth.Bearer)
	if b := h.Auth.Basic; b != nil {
		add("auth.basic.user", b.User)
		add("auth.basic.password", b.Password)
	}
	if x := h.Auth.Header; x != nil {
		add("auth.header.value", x.Value)
	}
	if l := h.Auth.Login; l != nil {
		add("auth.login.url", l.URL)
		if l.Basic != nil {
			add("auth.login.basic.user", l.Basic.User)
			add("auth.login.basic.password", l.Basic.Password)
		}
	}
	add("fetch_one", h.FetchOne)
	return refs
}

// OwnQuery reports whether requests set this query parameter themselves, so that a user may not.
func (h *HTTP) OwnQuery(key string) bool {
	_, ok := h.Query[key]
	return ok || key == h.Paging.Param || key == h.Paging.Limit
}
