package recipe

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// shared are the keys that lists may leave to the recipe beside them; url is there for its origin's sake.
var shared = []string{"url", "headers", "auth", "limits", "errors", "zone", "layout"}

// Lists returns the source's lists, each with all it needs: the recipe itself, without a name, or the feeds with what they left to it.
func (h *HTTP) Lists(feeds []Feed) []Feed {
	if len(feeds) == 0 {
		return []Feed{{HTTP: *h}}
	}
	lists := slices.Clone(feeds)
	for i := range lists {
		f := &lists[i].HTTP
		if len(h.Headers) > 0 {
			own := f.Headers
			f.Headers = maps.Clone(h.Headers)
			maps.Copy(f.Headers, own)
		}
		if f.Auth == (Auth{}) {
			f.Auth = h.Auth
		}
		if f.Limits == (Limits{}) {
			f.Limits = h.Limits
		}
		if len(f.Errors) == 0 {
			f.Errors = h.Errors
		}
		f.Zone, f.Layout = cmp.Or(f.Zone, h.Zone), cmp.Or(f.Layout, h.Layout)
	}
	return lists
}

var feedName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Problems returns everything that is wrong with a source's recipe and its feeds, where it has several. Paths begin with http or
// feeds[0].
func Problems(h *HTTP, feeds []Feed) []Problem {
	if len(feeds) == 0 {
		return under("http", h.Problems())
	}
	base := &check{}
	base.template("url", h.URL, "an address of the API, whose origin the feeds have")
	base.address("url", h.URL)
	base.headers(h)
	base.auth(h)
	base.limits(h.Limits)
	base.rules(h.Errors)
	value := reflect.ValueOf(h).Elem()
	for i := range value.NumField() {
		key, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("yaml"), ",")
		if !value.Field(i).IsZero() && !slices.Contains(shared, key) {
			base.add(key, "belongs to each of feeds; beside them http has only %s", strings.Join(shared, ", "))
		}
	}
	problems := under("http", base.problems)
	names := map[string]bool{}
	for i, list := range h.Lists(feeds) {
		c := &check{}
		switch {
		case list.Name == "":
			c.add("name", "is missing; it keeps the feed's place")
		case !feedName.MatchString(list.Name):
			c.add("name", "is %q; want 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit", list.Name)
		case names[list.Name]:
			c.add("name", "is %s, which another feed has; give each its own", list.Name)
		}
		names[list.Name] = true
		for _, p := range list.Problems() {
			if !feeds[i].inherits(p.Path) {
				c.problems = append(c.problems, p)
			}
		}
		if a, wholeA := origin(list.URL); wholeA && a != "" {
			if b, wholeB := origin(h.URL); wholeB && a != b {
				c.add("url", "is of another origin than http.url; credentials go to one origin only, so scheme, host and port must be the same")
			}
		}
		problems = append(problems, under(fmt.Sprintf("feeds[%d]", i), c.problems)...)
	}
	return problems
}

// inherits reports whether what stands at path comes from beside the feed, where its problem is told.
func (f *Feed) inherits(path string) bool {
	section, key, _ := strings.Cut(path, ".")
	section, _, _ = strings.Cut(section, "[")
	switch section {
	case "headers":
		_, own := f.Headers[key]
		return !own
	case "auth":
		return f.Auth == (Auth{})
	case "limits":
		return f.Limits == (Limits{})
	case "errors":
		return len(f.Errors) == 0
	case "zone":
		return f.Zone == ""
	case "layout":
		return f.Layout == ""
	}
	return false
}

func under(path string, problems []Problem) []Problem {
	for i := range problems {
		problems[i].Path = path + "." + problems[i].Path
	}
	return problems
}
