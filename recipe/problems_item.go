package recipe

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// items checks how events are made of an answer.
func (c *check) items(h *HTTP) {
	c.plainPath("items", h.Items)
	c.plainPath("explode", h.Explode)
	c.identify("id", h.ID, h, "@hash")
	c.named("type", h.Type, h)
	if h.Zone != "" {
		if _, err := time.LoadLocation(h.Zone); err != nil || h.Zone == "Local" {
			c.add("zone", "is %q, which is no time zone; want UTC, or a name such as Europe/London", h.Zone)
		}
	}
	c.layout("layout", h.Layout, "the layout of times; want "+oneOf(epochs)+", or Go's such as 2006-01-02 15:04:05")
	if h.Time == "" && (h.Zone != "" || h.Layout != "") && h.Changes.Born == "" {
		c.add("time", "is missing; zone and layout say how it is read")
	}
	c.raw(h)
}

func (c *check) layout(path, layout, want string) {
	if layout != "" && !saysTheDay(layout) {
		c.add(path, "is %q, which does not say the day: it is %s", layout, want)
	}
}

// computed finds gjson's modifiers, multipaths and literals: they make new JSON, and items are kept byte for byte.
var computed = regexp.MustCompile(`(^|[.|])([{[!]|@(this|valid|pretty|ugly|reverse|flatten|join|keys|values|tostr|fromstr|group|dig)\b)`)

func (c *check) plainPath(path, text string) {
	if computed.MatchString(text) {
		c.add(path, "must be a plain path such as data or response.items: items are kept byte for byte, so none may be computed")
	}
}

// jsonPath finds what JSONPath and jq write, which names nothing here.
var jsonPath = regexp.MustCompile(`^\$(\.|\[|$)|^\.|[^\\]\[(\*|[0-9]+)?\]`)

// paths checks that the paths into answers are none of another language.
func (c *check) paths(h *HTTP) {
	type at struct{ path, text string }
	all := []at{
		{"items", h.Items}, {"explode", h.Explode}, {"id", h.ID}, {"type", h.Type}, {"time", h.Time}, {"seek.cursor", h.Seek.Cursor},
		{"changes.resource", h.Changes.Resource}, {"changes.born", h.Changes.Born},
	}
	paging := func(path string, p Paging) {
		all = append(all, at{path + ".cursor", p.Cursor}, at{path + ".more", p.More}, at{path + ".done", p.Done}, at{path + ".current", p.Current})
	}
	paging("paging", h.Paging)
	if e := h.ForEach; e != nil {
		all = append(all, at{"for_each.items", e.Items}, at{"for_each.value", e.Value})
		paging("for_each.paging", e.Paging)
	}
	if l := h.Auth.Login; l != nil {
		all = append(all, at{"auth.login.token", l.Token}, at{"auth.login.expires_in", l.ExpiresIn})
	}
	for i, r := range h.Errors {
		all = append(all, at{fmt.Sprintf("errors[%d].path", i), r.Path})
	}
	for _, a := range all {
		if jsonPath.MatchString(a.text) && !strings.HasPrefix(a.text, "=") {
			c.add(a.path, "is %q, a path as JSONPath or jq has it; here it is names with dots between them, such as data, user.name or items.0.id", a.text)
		}
	}
}

// identify checks a path, or a template of paths.
func (c *check) identify(path, text string, h *HTTP, special ...string) {
	if !strings.ContainsAny(text, "{}") {
		return
	}
	t, err := ParseTemplate(text)
	if err != nil {
		c.add(path, "%v", err)
		return
	}
	if len(t.Names()) == 0 {
		c.add(path, "is the same for every item; name a path into it, such as {id}")
	}
	c.special(path, t, h, special...)
}

// named checks what gives a type: a path, a template of paths, or =word.
func (c *check) named(path, text string, h *HTTP) {
	if word, constant := strings.CutPrefix(text, "="); constant {
		if word == "" {
			c.add(path, "has = without the word that the type is")
		}
		return
	}
	if !strings.ContainsAny(text, "{}") {
		return
	}
	t, err := ParseTemplate(text)
	if err != nil {
		c.add(path, "%v", err)
		return
	}
	c.special(path, t, h)
}

// special checks the names that begin with @: they are no paths. An exploded item has those of the item around it as well, and one of a
// list of several values its value, as long as it is known where it was listed.
func (c *check) special(path string, t Template, h *HTTP, words ...string) {
	if h.Explode != "" {
		words = append(slices.Clone(words), "@index", "@item.PATH")
	}
	late := path == "raw" || path == "type" || path != "changes.resource" && strings.HasPrefix(path, "changes.") // made when it is known what changed
	if h.ForEach != nil && !(late && !h.Changes.none()) {
		words = append(slices.Clone(words), "@each")
	}
	for _, name := range t.Names() {
		known := slices.Contains(words, name) || h.Explode != "" && strings.HasPrefix(name, "@item.")
		switch {
		case !strings.HasPrefix(name, "@") || known:
		case len(words) == 0:
			c.add(path, "has {%s}, which means nothing here; want a path into the item", name)
		default:
			c.add(path, "has {%s}, which means nothing here; want a path into the item, {%s}", name, strings.Join(words, "}, {"))
		}
	}
}

// raw checks that the template of the body makes JSON, whatever stands at its paths.
func (c *check) raw(h *HTTP) {
	if h.Raw == "" {
		return
	}
	t, err := ParseTemplate(h.Raw)
	if err != nil {
		c.add("raw", "%v", err)
		return
	}
	c.special("raw", t, h, "@item", "@fields", "@id", "@type", "@time", "@now", "@hash")
	for _, value := range []string{`"x"`, "1"} { // text within quotes, and a number for a key, are no JSON
		c.json("raw", t, func(name string) string {
			switch name {
			case "@item":
				return "{}"
			case "@fields":
				return `"x":1`
			case "@id", "@type", "@time", "@now":
				return `"x"`
			}
			return value
		})
	}
}

// jsonBody checks the template of a request's body, in which a value stands as a JSON string, and {ids} as an array of them.
func (c *check) jsonBody(path, text string) {
	t, err := ParseTemplate(text)
	if err != nil {
		c.add(path, "%v", err)
		return
	}
	c.json(path, t, func(name string) string {
		if name == "ids" && path == "ack.body" {
			return `["x"]`
		}
		return `"x"`
	})
}

// json checks that a template makes JSON with such values; once is enough to say.
func (c *check) json(path string, t Template, value func(name string) string) {
	text, _ := t.Expand(func(name string) (string, bool) { return value(name), true }) // every name has a value
	if json.Valid([]byte(text)) || slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Path == path }) {
		return
	}
	c.add(path, "makes no JSON of its values; each stands as a whole JSON value, so write {x} and not \"{x}\"; a brace itself is {{ or }}")
}
