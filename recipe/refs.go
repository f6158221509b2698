package recipe

import (
	"fmt"
	"maps"
	"slices"
)

// Ref is one use of a parameter.
type Ref struct {
	Path string // of the template that uses it, as in Problem
	Name string
}

// Refs lists the parameters that the recipe's templates use. What a request puts in itself is none: {cursor} in the url, {start}
// where a list is begun or sought, {id}, {ids} and {cursor} in what is acknowledged, {id} of fetch_one, and the name that for_each gives.
func (h *HTTP) Refs() []Ref {
	var refs []Ref
	add := func(path, text string, own ...string) {
		t, err := ParseTemplate(text)
		if err != nil {
			return
		}
		for _, name := range t.Names() {
			if !slices.Contains(own, name) {
				refs = append(refs, Ref{path, name})
			}
		}
	}
	all := func(path string, texts map[string]string, own ...string) {
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			add(path+"."+key, texts[key], own...)
		}
	}
	each := ""
	if h.ForEach != nil {
		each = h.ForEach.As
	}
	add("url", h.URL, "cursor", each)
	all("query", h.Query, each)
	all("headers", h.Headers)
	add("body", h.Body, each)
	h.Auth.refs(add, all)
	all("first", h.First, "start", each)
	add("ack.url", h.Ack.URL, "id")
	add("ack.body", h.Ack.Body, "id", "ids", "cursor")
	add("seek.url", h.Seek.URL, "start")
	add("seek.body", h.Seek.Body, "start")
	if e := h.ForEach; e != nil {
		add("for_each.url", e.URL)
		all("for_each.query", e.Query)
	}
	add("fetch_one", h.FetchOne, "id")
	return refs
}

func (a *Auth) refs(add func(string, string, ...string), all func(string, map[string]string, ...string)) {
	add("auth.bearer", a.Bearer)
	if b := a.Basic; b != nil {
		add("auth.basic.user", b.User)
		add("auth.basic.password", b.Password)
	}
	if x := a.Header; x != nil {
		add("auth.header.value", x.Value)
	}
	if l := a.Login; l != nil {
		add("auth.login.url", l.URL)
		if l.Basic != nil {
			add("auth.login.basic.user", l.Basic.User)
			add("auth.login.basic.password", l.Basic.Password)
		}
	}
	if o := a.OAuth2; o != nil {
		add("auth.oauth2.token_url", o.TokenURL)
		add("auth.oauth2.client_id", o.ClientID)
		add("auth.oauth2.client_secret", o.ClientSecret)
		all("auth.oauth2.params", o.Params)
	}
}

// Refs lists the parameters of a source's recipe and of its feeds, with paths as Problems has them.
func Refs(h *HTTP, feeds []Feed) []Ref {
	var refs []Ref
	add := func(path string, of *HTTP) {
		for _, r := range of.Refs() {
			refs = append(refs, Ref{path + "." + r.Path, r.Name})
		}
	}
	add("http", h)
	for i := range feeds {
		add(fmt.Sprintf("feeds[%d]", i), &feeds[i].HTTP)
	}
	return refs
}

// OwnQuery reports whether requests set this query parameter themselves, so that a user may not.
func (h *HTTP) OwnQuery(key string) bool {
	_, query := h.Query[key]
	_, first := h.First[key]
	_, own := h.own(InQuery)[key]
	return query || first || own
}
