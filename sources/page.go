package sources

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"tidings/event"
	"tidings/recipe"
)

const (
	maxDepth  = 10_000  // of nested JSON, as encoding/json has it; the checker recurses
	maxID     = 4 << 10 // bytes; a longer id is known by its hash
	maxType   = 1 << 10 // bytes; a longer type is cut
	maxEvents = 100_000 // of one page: an event takes more memory than the two bytes of an item may
)

// lister makes events of an answer, as the recipe says.
type lister struct {
	source   string
	recipe   recipe.HTTP
	id       field
	kind     field
	resource field // what an event is a version of; not given where the list is none of resources
	clock    clock
	raw      *rawBody // nil: the item's own bytes
	pager    pager
	max      int64 // bytes of all bodies that are made of one page
}

func newLister(source string, r recipe.HTTP) (lister, error) {
	l := lister{source: source, recipe: r, pager: pager{r.Paging, r.Position == recipe.TailCursor}, max: 4 * defaultMaxBody}
	var err error
	if l.id, err = newField("id", r.ID); err != nil {
		return l, err
	}
	if l.kind, err = newField("type", r.Type); err != nil {
		return l, err
	}
	resource := r.Changes.Resource
	if resource == "" && r.Position == recipe.Snapshot {
		resource = r.ID
	}
	if l.resource, err = newField("changes.resource", resource); err != nil {
		return l, err
	}
	if l.clock, err = newClock(r.Zone, r.Layout); err != nil {
		return l, err
	}
	if r.Raw != "" {
		l.raw, err = newRawBody(r.Raw)
	}
	return l, err
}

// parse checks a whole document once. After it, cutting values out can't fail.
func parse(body string) (gjson.Result, error) {
	body = strings.Trim(strings.TrimPrefix(body, "\ufeff"), " \t\r\n")
	switch {
	case body == "":
		return gjson.Result{}, errors.New("is empty")
	case body[0] == '<':
		return gjson.Result{}, errors.New("is HTML or XML, not JSON; is the address that of the API?")
	case strings.Count(body, "[")+strings.Count(body, "{") > maxDepth && depth(body) > maxDepth:
		return gjson.Result{}, fmt.Errorf("is nested deeper than %d levels", maxDepth)
	case !gjson.Valid(body):
		return gjson.Result{}, errors.New("is not valid JSON")
	}
	return gjson.Parse(body), nil
}

// depth counts how deep valid JSON is nested. Of invalid JSON it tells no less than the part before the fault.
func depth(body string) int {
	now, most := 0, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			now++
			most = max(most, now)
		case '}', ']':
			now--
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		}
	}
	return most
}

// page makes a page of an answer; at says what was asked for, now is the server's clock. Each event has its bytes to itself, so that
// keeping one does not keep the page.
func (l *lister) page(body string, at place, now time.Time) (event.Page, error) {
	var page event.Page
	doc, err := parse(body)
	if err != nil {
		return page, err
	}
	items := doc
	if l.recipe.Items != "" {
		items = doc.Get(l.recipe.Items)
	}
	if !items.IsArray() {
		where := "at " + l.recipe.Items
		if l.recipe.Items == "" {
			where = "in it"
		}
		return page, fmt.Errorf("has %s %s, where an array of events should stand", kind(items), where)
	}
	if at.size > 0 {
		page.Events = make([]event.Event, 0, min(at.size, 1000))
	}
	listed, last, room := 0, "", l.max
	items.ForEach(func(_, listedItem gjson.Result) bool {
		listed++
		err = l.each(listedItem, func(i *item, broken string) error {
			e, id, hashed := l.event(i, broken, now)
			if hashed {
				page.Hashed++
			}
			if id != "" {
				last = id
			}
			if room -= int64(len(e.Data)); room < 0 {
				return fmt.Errorf("makes events of more than %d bytes together; ask for smaller pages", l.max)
			}
			if len(page.Events) == maxEvents {
				return fmt.Errorf("has more than %d events, the most that one page may have; ask for smaller pages", maxEvents)
			}
			page.Events = append(page.Events, e)
			return nil
		})
		return err == nil
	})
	if err != nil {
		return event.Page{}, err
	}
	page.Full = at.size > 0 && listed >= at.size
	step, err := l.pager.next(doc, at, listed, last)
	page.Next, page.More, page.Idle = step.next, step.said, step.idle
	return page, err
}

// each calls f for a listed item, or for each element of the array in it that the recipe explodes; broken says why what it is called
// with can't be an event.
func (l *lister) each(listed gjson.Result, f func(i *item, broken string) error) error {
	i := item{Result: listed, around: listed, ignore: l.recipe.Changes.Ignore}
	if !listed.IsObject() {
		return f(&i, "it is "+kind(listed)+", not an object")
	}
	if l.recipe.Explode == "" {
		return f(&i, "")
	}
	elements := listed.Get(l.recipe.Explode)
	if !elements.IsArray() {
		if elements.Type == gjson.Null && elements.Exists() {
			return nil
		}
		return f(&i, fmt.Sprintf("it has %s at %s, not the array of events", kind(elements), l.recipe.Explode))
	}
	var err error
	index := 0
	elements.ForEach(func(_, element gjson.Result) bool {
		i.Result, i.index = element, index
		index++
		broken := ""
		if !element.IsObject() {
			broken = "it is " + kind(element) + ", not an object"
		}
		err = f(&i, broken)
		return err == nil
	})
	return err
}

// event makes an event of an item. id is the vendor's own, whole, and empty where there is none; hashed says that the event has a
// content hash instead.
func (l *lister) event(i *item, broken string, now time.Time) (e event.Event, id string, hashed bool) {
	e.Source = l.source
	if broken != "" {
		e.ID, e.Broken, e.Data = hash(i.Raw), broken, []byte(i.Raw)
		return e, "", false
	}
	id = l.id.of(i)
	if l.resource.given() {
		if e.Resource = bounded(l.resource.of(i)); e.Resource == "" {
			e.Resource, hashed = hash(i.Raw), true
		}
		if l.recipe.Position == recipe.Snapshot || id == "" {
			id = e.Resource + "@" + version(i.Result, i.ignore)
		}
		e.ID = bounded(id)
	} else if e.ID = bounded(id); id == "" {
		e.ID, hashed = hash(i.Raw), true
	}
	e.Type = cutType(l.kind.of(i))
	if path := l.recipe.Time; path != "" {
		e.Time = l.clock.parse(l.at(i, path))
	}
	if path := l.recipe.Changes.Born; path != "" {
		e.Born = l.clock.parse(l.at(i, path))
	}
	if l.raw != nil && !l.resource.given() { // a resource gets its body from Wrap
		e.Data = l.raw.expand(i, &e, now)
	} else {
		e.Data = []byte(i.Raw)
	}
	return e, id, hashed
}

// at is the value at a path of the item, or of the one around it.
func (l *lister) at(i *item, path string) gjson.Result {
	if rest, around := strings.CutPrefix(path, "@item."); around {
		return i.around.Get(rest)
	}
	return i.Get(path)
}

// bounded is an id, or the hash of one that is too long.
func bounded(id string) string {
	if len(id) > maxID {
		return hash(id)
	}
	return id
}

func cutType(s string) string {
	n := maxType
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}

// kind names what stands there, for errors.
func kind(v gjson.Result) string {
	switch {
	case !v.Exists():
		return "nothing"
	case v.IsObject():
		return "an object"
	case v.IsArray():
		return "an array"
	case v.IsBool():
		return "true or false"
	}
	return map[gjson.Type]string{gjson.Null: "null", gjson.Number: "a number", gjson.String: "a string"}[v.Type]
}
