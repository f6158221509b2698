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

// Problems returns everything that is wrong with the recipe of one list, in the order of its fields; nothing for a sound one.
// Whether its parameters exist is for the caller to check, with Refs.
func (h *HTTP) Problems() []Problem {
	c := &check{}
	c.template("url", h.URL, "the address of the list, such as https://api.example.com/v1/events")
	c.address("url", h.URL)
	c.words("method", h.Method, "GET", "POST")
	c.query(h)
	c.headers(h)
	c.body(h)
	c.auth(h)
	c.items(h)
	c.paths(h)
	c.place(h)
	c.paging("paging", h.Paging)
	c.cursor(h)
	c.window(h)
	c.ack(h)
	c.seek(h)
	c.changes(h)
	c.forEach(h)
	c.limits(h.Limits)
	c.duration("retain", h.Retain)
	c.duration("overlap", h.Overlap)
	c.rules(h.Errors)
	c.fetchOne(h)
	return c.problems
}

type check struct{ problems []Problem }

func (c *check) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{path, fmt.Sprintf(format, args...)})
}

// template checks a template; what says what it is where it may not be missing.
func (c *check) template(path, text, what string) {
	if text == "" {
		if what != "" {
			c.add(path, "is missing; it is %s", what)
		}
		return
	}
	if _, err := ParseTemplate(text); err != nil {
		c.add(path, "%v", err)
	}
}

// has reports whether a template names a value.
func has(template string, names ...string) bool {
	t, err := ParseTemplate(template)
	return err == nil && slices.ContainsFunc(t.Names(), func(name string) bool { return slices.Contains(names, name) })
}

// words checks that a value is one of a few, or not there.
func (c *check) words(path, value string, words ...string) bool {
	if value == "" || slices.Contains(words, value) {
		return true
	}
	c.add(path, "is %q; want %s", value, oneOf(words))
	return false
}

// oneOf writes words as a choice: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func (c *check) duration(path, text string) {
	if text == "" {
		return
	}
	if d, err := Duration(text); err != nil {
		c.add(path, "is %q; want a duration such as 90s, 15m, 72h or 14d", text)
	} else if d <= 0 {
		c.add(path, "is %q; want more than nothing, or leave it out", text)
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

// further checks another URL of the list's origin.
func (c *check) further(path, text, list, what string) {
	c.template(path, text, what)
	c.address(path, text)
	c.sameOrigin(path, text, list)
}

func (c *check) sameOrigin(path, text, list string) {
	a, wholeA := origin(text)
	b, wholeB := origin(list)
	if wholeA && wholeB && a != b && b != "" {
		c.add(path, "is of another origin than url; credentials go to one origin only, so scheme, host and port must be the same")
	}
}

func (c *check) query(h *HTTP) {
	own := h.own(InQuery)
	for _, section := range []struct {
		name   string
		values map[string]string
	}{{"query", h.Query}, {"first", h.First}} {
		if section.name == "first" && h.Paging.In == InBody {
			own = h.own(InBody)
		}
		for _, key := range slices.Sorted(maps.Keys(section.values)) {
			path := section.name + "." + key
			c.template(path, section.values[key], "")
			by, twice := own[key]
			if section.name == "first" && by == "paging.param" { // a list is begun without a cursor
				twice = false
			}
			if twice {
				c.add(path, "is what %s sets; leave it out here", by)
			}
			if key == "" {
				c.add(section.name, "has an entry without a name")
			}
			if section.name == "query" {
				own[key] = "query"
			}
			if section.name == "first" && has(section.values[key], "start") && h.Position != TailCursor && h.Position != "" {
				c.add(path, "has {start}, which only a list of position tail_cursor is begun with")
			}
		}
	}
}

// own are the parameters in a place, the query, the body or the headers, that say which page is meant, each with the key that names it.
func (h *HTTP) own(in string) map[string]string {
	own := map[string]string{}
	if cmp.Or(h.Paging.In, InQuery) == in {
		own[h.Paging.Param] = "paging.param"
	}
	if in == InBody && h.Paging.In == InBody || in == InQuery && h.Paging.In != InBody {
		own[h.Paging.Limit] = "paging.limit"
	}
	if h.windowIn() == in {
		own[h.Window.Since], own[h.Window.Until] = "window.since", "window.until"
	}
	delete(own, "")
	return own
}

// windowIn is where the window's ends stand: InQuery, InBody or InHeader.
func (h *HTTP) windowIn() string {
	if h.Window.In == "" && h.Paging.In == InBody {
		return InBody
	}
	return cmp.Or(h.Window.In, InQuery)
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$") // RFC 9110, 5.6.2

// header checks the name of a header that an API gives, or is given.
func (c *check) header(path, name string) {
	if name != "" && !headerName.MatchString(name) {
		c.add(path, "is %q, which can't be a header's name", name)
	}
}

// ofConnection reports whether a header is set by what makes requests, whatever a recipe says.
func ofConnection(name string) bool {
	return slices.ContainsFunc([]string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Accept-Encoding"},
		func(own string) bool { return strings.EqualFold(name, own) })
}

func (c *check) headers(h *HTTP) {
	for name, by := range h.own(InHeader) {
		if ofConnection(name) || strings.EqualFold(name, "Authorization") || h.Auth.Header != nil && strings.EqualFold(name, h.Auth.Header.Name) {
			c.add(by, "is %q, a header that the connection or auth sets; want one of the API's", name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(h.Headers)) {
		path := "headers." + key
		c.template(path, h.Headers[key], "")
		switch {
		case !headerName.MatchString(key):
			c.add(path, "can't be a header's name; want letters, digits and -, such as X-Api-Key")
		case strings.EqualFold(key, "Authorization") && h.Auth != Auth{}:
			c.add(path, "is what auth sets; leave one of them out")
		case h.Auth.Header != nil && strings.EqualFold(key, h.Auth.Header.Name):
			c.add(path, "is what auth.header sets; leave one of them out")
		case ofConnection(key):
			c.add(path, "is set by the connection itself; leave it out")
		default:
			for name, by := range h.own(InHeader) {
				if strings.EqualFold(key, name) {
					c.add(path, "is what %s sets; leave it out here", by)
				}
			}
		}
	}
}

func (c *check) body(h *HTTP) {
	if h.Body == "" {
		return
	}
	c.jsonBody("body", h.Body)
	if h.Method != "POST" {
		c.add("body", "needs method: POST")
	}
}

// rules checks what answers mean.
func (c *check) rules(rules []ErrorRule) {
	for i, r := range rules {
		path := fmt.Sprintf("errors[%d]", i)
		if r.Status < 200 || r.Status > 599 {
			c.add(path+".status", "is %d; want an HTTP status from 200 to 599", r.Status)
		}
		if (r.Equals != "" || r.Missing) && r.Path == "" {
			c.add(path+".path", "is missing; it says where in the answer's body %s is looked for", pick(r.Missing, "what is missing", "equals"))
		}
		if r.Equals != "" && r.Missing {
			c.add(path+".missing", "can't be true beside equals; leave one of them out")
		}
		if r.Status/100 == 2 && r.Path == "" && r.Means != Empty {
			c.add(path+".path", "is missing; a status of success needs more to be an error")
		}
		if r.Means == "" {
			c.add(path+".means", "is missing; want refused, limited, lost or empty")
		}
		c.words(path+".means", r.Means, Refused, Limited, Lost, Empty)
	}
}

func (c *check) fetchOne(h *HTTP) {
	if h.FetchOne == "" {
		return
	}
	c.further("fetch_one", h.FetchOne, h.URL, "")
	if _, err := ParseTemplate(h.FetchOne); err == nil && !has(h.FetchOne, "id") {
		c.add("fetch_one", "says nowhere where the event's id goes; write {id} in it")
	}
	if h.ID == "" || strings.ContainsAny(h.ID, "{}") {
		c.add("fetch_one", "needs id to be a plain path: the API takes its own id, nothing made of it")
	}
}
