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
	keys     keys  // of id, type and time
	quick    bool  // these are all that there is to look for
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
	l.keys = keys{l.id.path, l.kind.path, r.Time}
	l.quick = l.keys.plain() && l.id.template == nil && l.id.word == "" && l.kind.template == nil && l.kind.word == ""
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
	case deep(body):
		return gjson.Result{}, fmt.Errorf("is nested deeper than %d levels", maxDepth)
	case !gjson.Valid(body):
		return gjson.Result{}, errors.New("is not valid JSON")
	}
	return gjson.Parse(body), nil
}

// deep reports whether JSON is nested deeper than is checked.
func deep(body string) bool {
	return strings.Count(body, "[")+strings.Count(body, "{") > maxDepth && depth(body) > maxDepth
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
	items := array(doc, l.recipe.Items)
	if !items.IsArray() {
		where := "at " + l.recipe.Items
		if l.recipe.Items == "" {
			where = "in it"
		}
		return page, fmt.Errorf("has %s %s, where an array of events should stand%s", kind(items), where, arrays(doc))
	}
	if at.size > 0 {
		page.Events = make([]event.Event, 0, min(at.size, 1000))
	}
	i := item{ignore: l.recipe.Changes.Ignore, each: at.each}
	listed, last, room := 0, "", l.max
	elements(items, func(listedItem gjson.Result) bool {
		listed++
		i.Result, i.around = listedItem, listedItem
		err = l.each(&i, func(broken string) error {
			if len(page.Events) == maxEvents {
				return fmt.Errorf("has more than %d events, the most that one page may have; ask for smaller pages", maxEvents)
			}
			page.Events = append(page.Events, event.Event{})
			e := &page.Events[len(page.Events)-1]
			id, hashed := l.event(e, &i, broken, now)
			if hashed {
				page.Hashed++
			}
			if id != "" {
				last = id
			}
			if room -= int64(len(e.Data)); room < 0 {
				return fmt.Errorf("makes events of more than %d bytes together; ask for smaller pages", l.max)
			}
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

// arrays ends the sentence about an array that is not there: where one stands at the document's top.
func arrays(doc gjson.Result) string {
	var keys []string
	if doc.IsObject() {
		doc.ForEach(func(key, value gjson.Result) bool {
			if value.IsArray() {
				keys = append(keys, cut(printable(key.Str), 40))
			}
			return len(keys) < 3
		})
	}
	if len(keys) == 0 {
		return ""
	}
	return "; one stands at " + strings.Join(keys, ", ") + ", which items can name"
}

// each calls f for a listed item, or with i as each element of the array in it that the recipe explodes; broken says why i can't be
// an event.
func (l *lister) each(i *item, f func(broken string) error) error {
	broken := noObject(i.Result)
	if broken != "" || l.recipe.Explode == "" {
		return f(broken)
	}
	all := i.around.Get(l.recipe.Explode)
	if !all.IsArray() {
		if all.Type == gjson.Null && all.Exists() {
			return nil
		}
		return f(fmt.Sprintf("it has %s at %s, not the array of events", kind(all), l.recipe.Explode))
	}
	var err error
	index := 0
	elements(all, func(element gjson.Result) bool {
		i.Result, i.index = element, index
		index++
		err = f(noObject(element))
		return err == nil
	})
	return err
}

// noObject says why a value can't be an event; empty for an object.
func noObject(v gjson.Result) string {
	if v.IsObject() {
		return ""
	}
	return "it is " + kind(v) + ", not an object"
}

// event makes e, which is zero, the event of an item. id is the vendor's own, whole, and empty where there is none; hashed says that
// the event has a content hash instead.
func (l *lister) event(e *event.Event, i *item, broken string, now time.Time) (id string, hashed bool) {
	e.Source = l.source
	if broken != "" {
		e.ID, e.Broken, e.Data = i.hash(), broken, []byte(i.Raw)
		return "", false
	}
	if l.quick {
		found := l.keys.of(i.Result)
		id, e.Type, e.Time = text(found[0]), cutType(text(found[1])), l.clock.parse(found[2])
	} else {
		id, e.Type, e.Time = l.id.of(i), cutType(l.kind.of(i)), l.moment(i, l.recipe.Time)
	}
	e.ID = bounded(id)
	if l.resource.given() {
		if e.Resource = bounded(l.resource.of(i)); e.Resource == "" {
			e.Resource, hashed = i.hash(), true
		}
		if l.recipe.Position == recipe.Snapshot || id == "" {
			e.ID = bounded(e.Resource + "@" + version(i.Result, i.ignore))
		}
		e.Born = l.moment(i, l.recipe.Changes.Born)
	}
	if e.ID == "" {
		e.ID, hashed = i.hash(), true
	}
	if l.raw != nil && !l.resource.given() { // a resource gets its body from Wrap
		e.Data = l.raw.expand(i, e, now)
	} else {
		e.Data = []byte(i.Raw)
	}
	return id, hashed
}

// moment is the time at a path of the item, or of the one around it.
func (l *lister) moment(i *item, path string) time.Time {
	if path == "" {
		return time.Time{}
	}
	if rest, around := strings.CutPrefix(path, "@item."); around {
		return l.clock.parse(i.around.Get(rest))
	}
	return l.clock.parse(i.Get(path))
}

// bounded is an id, or the hash of one that is too long, or has bytes that a position, which is JSON, could not hold.
func bounded(id string) string {
	if len(id) > maxID || !utf8.ValidString(id) {
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
