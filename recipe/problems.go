package recipe

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Problem is one thing wrong with a recipe.
type Problem struct {
	Path string // from the recipe's top, such as auth.login.url or errors[0].means
	Text string // what is wrong, and what would be right: "is missing; ..."
}

// What a recipe may say where only some words are allowed.
const (
	HeadWalk = "head_walk" // newest first: walk back from the head to what is known
	LastID   = "last_id"   // the cursor is the id of the page's last item

	Refused = "refused"
	Limited = "limited"
	Lost    = "lost"
)

// Problems returns everything that is wrong with the recipe, in the order of its fields; nothing for a sound one. Whether its
// parameters exist is for the caller to check, with Refs.
func (h *HTTP) Problems() []Problem {
	c := &check{}
	c.template("url", h.URL, true)
	c.address("url", h.URL)
	c.method("method", h.Method)
	c.query(h)
	c.headers(h)
	c.auth(h)
	c.plainPath("items", h.Items)
	c.id(h.ID)
	c.position(h.Position)
	c.paging(h)
	for i, r := range h.Errors {
		c.rule(fmt.Sprintf("errors[%d]", i), r)
	}
	if h.FetchOne != "" {
		c.template("fetch_one", h.FetchOne, true)
		if t, err := ParseTemplate(h.FetchOne); err == nil && !slices.Contains(t.Names(), "id") {
			c.add("fetch_one", "says nowhere where the event's id goes; write {id} in it")
		}
		c.sameOrigin("fetch_one", h.FetchOne, h.URL)
		if h.ID == "" || strings.ContainsAny(h.ID, "{}") {
			c.add("fetch_one", "needs id to be a plain path: the API takes its own id, nothing made of it")
		}
	}
	return c.problems
}

type check struct{ problems []Problem }

func (c *check) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (c *check) template(path, text string, required bool) {
	if text == "" {
		if required {
			c.add(path, "is missing")
		}
		return
	}
	if _, err := ParseTemplate(text); err != nil {
		c.add(path, "%v", err)
	}
}

// address checks as much of a URL as its template tells: one that starts with a parameter is checked when its value is known.
func (c *check) address(path, text string) {
	literal, whole := origin(text)
	if text == "" || !whole && literal == "" {
		return
	}
	if strings.Contains(text, "#") {
		c.add(path, "has a # part, which is never sent to a server; leave it out")
	}
	if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") || literal == "" {
		c.add(path, "is not an address; it starts with https:// or http:// and a host")
	}
}

func (c *check) sameOrigin(path, text, list string) {
	a, wholeA := origin(text)
	b, wholeB := origin(list)
	if wholeA && wholeB && a != b && b != "" {
		c.add(path, "is of another origin than url; credentials go to one origin only, so scheme, host and port must be the same")
	}
}

func (c *check) method(path, method string) {
	switch method {
	case "", "GET", "POST":
	default:
		c.add(path, "is %q; want GET or POST", method)
	}
}

func (c *check) query(h *HTTP) {
	for _, key := range slices.Sorted(maps.Keys(h.Query)) {
		path := "query." + key
		c.template(path, h.Query[key], false)
		switch key {
		case "":
			c.add("query", "has an entry without a name")
		case h.Paging.Param:
			c.add(path, "is what paging.param sets; leave it out here")
		case h.Paging.Limit:
			c.add(path, "is what paging.limit sets; leave it out here")
		}
	}
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$") // RFC 9110, 5.6.2

func (c *check) headers(h *HTTP) {
	for _, key := range slices.Sorted(maps.Keys(h.Headers)) {
		path := "headers." + key
		c.template(path, h.Headers[key], false)
		switch {
		case !headerName.MatchString(key):
			c.add("headers", "has %q, which can't be a header's name", key)
		case strings.EqualFold(key, "Authorization") && h.Auth != Auth{}:
			c.add(path, "is what auth sets; leave one of them out")
		case h.Auth.Header != nil && strings.EqualFold(key, h.Auth.Header.Name):
			c.add(path, "is what auth.header sets; leave one of them out")
		case slices.ContainsFunc([]string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Accept-Encoding"},
			func(own string) bool { return strings.EqualFold(key, own) }):
			c.add(path, "is set by the connection itself; leave it out")
		}
	}
}

func (c *check) auth(h *HTTP) {
	var set []string
	a := h.Auth
	if a.Bearer != "" {
		set = append(set, "bearer")
		c.template("auth.bearer", a.Bearer, true)
	}
	if a.Basic != nil {
		set = append(set, "basic")
		c.basic("auth.basic", a.Basic)
	}
	if a.Header != nil {
		set = append(set, "header")
		if !headerName.MatchString(a.Header.Name) {
			c.add("auth.header.name", "is %q, which can't be a header's name", a.Header.Name)
		}
		c.template("auth.header.value", a.Header.Value, true)
	}
	if l := a.Login; l != nil {
		set = append(set, "login")
		c.method("auth.login.method", l.Method)
		c.template("auth.login.url", l.URL, true)
		c.address("auth.login.url", l.URL)
		c.sameOrigin("auth.login.url", l.URL, h.URL)
		if l.Basic != nil {
			c.basic("auth.login.basic", l.Basic)
		}
		if l.Token == "" {
			c.add("auth.login.token", "is missing; it is the path to the token in the login's answer, such as access_token")
		}
	}
	if len(set) > 1 {
		c.add("auth", "has %s; give one of them", strings.Join(set, " and "))
	}
}

func (c *check) basic(path string, b *Basic) {
	c.template(path+".user", b.User, true)
	c.template(path+".password", b.Password, false)
}

// computed finds gjson's modifiers, multipaths and literals: they make new JSON, and items are kept byte for byte.
var computed = regexp.MustCompile(`(^|[.|])([{[!]|@(this|valid|pretty|ugly|reverse|flatten|join|keys|values|tostr|fromstr|group|dig)\b)`)

func (c *check) plainPath(path, text string) {
	if computed.MatchString(text) {
		c.add(path, "must be a plain path such as data or response.items: items are kept byte for byte, so none may be computed")
	}
}

func (c *check) id(text string) {
	if strings.ContainsAny(text, "{}") {
		c.template("id", text, false)
		if t, err := ParseTemplate(text); err == nil && len(t.Names()) == 0 {
			c.add("id", "is the same for every item; name a path into it, such as {id}")
		}
	}
}

func (c *check) position(text string) {
	switch text {
	case HeadWalk:
	case "":
		c.add("position", "is missing; write head_walk for a list that is newest first")
	case "tail_cursor", "time_window", "ack", "snapshot":
		c.add("position", "is %s, which this version can't keep yet; it can keep head_walk", text)
	default:
		c.add("position", "is %q; want head_walk", text)
	}
}

func (c *check) paging(h *HTTP) {
	p := h.Paging
	switch {
	case p.Param == "" && p.Cursor != "":
		c.add("paging.param", "is missing; it is the query parameter that takes paging.cursor")
	case p.Param != "" && p.Cursor == "":
		c.add("paging.cursor", "is missing; write last_id, or the path to the next cursor in the response")
	case p.Param == "" && p.More != "":
		c.add("paging.more", "needs paging.param and paging.cursor: without them there is no way to ask for more")
	}
	if p.Cursor == LastID && (h.ID == "" || strings.ContainsAny(h.ID, "{}")) {
		c.add("paging.cursor", "is last_id, which needs id to be a plain path: the API takes its own id, nothing made of it")
	}
	switch {
	case p.Size < 0:
		c.add("paging.size", "is %d; want at least 1", p.Size)
	case p.Size > 0 && p.Limit == "":
		c.add("paging.limit", "is missing; it is the query parameter that takes paging.size")
	case p.Size == 0 && p.Limit != "":
		c.add("paging.size", "is missing; it is what paging.limit asks for")
	}
	if p.Limit != "" && p.Limit == p.Param {
		c.add("paging.limit", "is the same query parameter as paging.param")
	}
}

func (c *check) rule(path string, r ErrorRule) {
	if r.Status < 200 || r.Status > 599 {
		c.add(path+".status", "is %d; want an HTTP status from 200 to 599", r.Status)
	}
	if r.Equals != "" && r.Path == "" {
		c.add(path+".path", "is missing; it says where in the answer's body equals is looked for")
	}
	if r.Status/100 == 2 && r.Path == "" {
		c.add(path+".path", "is missing; a status of success needs more to be an error")
	}
	words := []string{Refused, Limited, Lost}
	if !slices.Contains(words, r.Means) {
		c.add(path+".means", "is %s; want refused, limited or lost", cmp.Or(r.Means, "missing"))
	}
}
