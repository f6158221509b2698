package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"tidings/event"
	"tidings/recipe"
)

const (
	maxDepth = 10_000  // of nested JSON, as encoding/json has it; the checker recurses
	maxID    = 4 << 10 // bytes; a longer id is known by its hash
	maxType  = 1 << 10 // bytes; a longer type is cut
)

// lister makes events of an answer, as the recipe says.
type lister struct {
	source string
	recipe recipe.HTTP
	id     *recipe.Template // of paths; nil when recipe.ID is a path or empty
}

func newLister(source string, r recipe.HTTP) (lister, error) {
	l := lister{source: source, recipe: r}
	if strings.ContainsAny(r.ID, "{}") {
		t, err := recipe.ParseTemplate(r.ID)
		if err != nil {
			return l, fmt.Errorf("id %w", err)
		}
		l.id = &t
	}
	return l, nil
}

// parse checks a whole document once. After it, cutting values out can't fail.
func parse(body string) (gjson.Result, error) {
	body = strings.Trim(strings.TrimPrefix(body, "\ufeff"), " \t\r\n")
	switch {
	case body == "":
		return gjson.Result{}, errors.New("is empty")
	case body[0] == '<':
		return gjson.Result{}, errors.New("is HTML or XML, not JSON; is the address that of the API?")
	case depth(body) > maxDepth:
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

// page makes a page of an answer to the request for cursor. Each event has its bytes to itself, so that keeping one does not keep
// the page.
func (l *lister) page(body, cursor string) (event.Page, error) {
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
	last := ""
	items.ForEach(func(_, item gjson.Result) bool {
		e, id, hashed := l.event(item)
		if hashed {
			page.Hashed++
		}
		if id != "" {
			last = id
		}
		page.Events = append(page.Events, e)
		return true
	})
	return page, l.next(&page, doc, cursor, last)
}

// next says how the list goes on after the page; last is the last id on it.
func (l *lister) next(page *event.Page, doc gjson.Result, cursor, last string) error {
	p := l.recipe.Paging
	if p.Param == "" {
		return nil
	}
	next := last
	if p.Cursor != recipe.LastID {
		next = text(doc.Get(p.Cursor))
	}
	more := next != "" && len(page.Events) > 0
	if p.More != "" {
		v := doc.Get(p.More)
		if v.Type != gjson.True && v.Type != gjson.False {
			return fmt.Errorf("has %s at %s, where true or false should say whether there are more pages", kind(v), p.More)
		}
		more = v.Bool()
	}
	switch {
	case !more:
		return nil
	case next == "":
		return errors.New("says that there are more pages, but has nothing on it to ask for the next one with")
	case next == cursor:
		return errors.New("says that the next page is this one again")
	}
	page.Next, page.More = next, p.More != ""
	return nil
}

// event makes an event of an item. id is the vendor's own, whole, and empty where there is none; hashed says that the event has a
// content hash instead.
func (l *lister) event(item gjson.Result) (e event.Event, id string, hashed bool) {
	e = event.Event{Source: l.source, Data: []byte(item.Raw)}
	if !item.IsObject() {
		e.ID = hash(item.Raw)
		e.Broken = "it is " + kind(item) + ", not an object"
		return e, "", false
	}
	id = l.identify(item)
	switch {
	case id == "":
		e.ID, hashed = hash(item.Raw), true
	case len(id) > maxID:
		e.ID = hash(id)
	default:
		e.ID = id
	}
	if l.recipe.Type != "" {
		e.Type = text(item.Get(l.recipe.Type))
		if n := maxType; len(e.Type) > n {
			for n > 0 && !utf8.RuneStart(e.Type[n]) {
				n--
			}
			e.Type = strings.Clone(e.Type[:n])
		}
	}
	if l.recipe.Time != "" {
		e.Time = parseTime(item.Get(l.recipe.Time))
	}
	return e, id, hashed
}

// identify is the vendor's id; empty where any part of it is missing, since the rest alone would be shared.
func (l *lister) identify(item gjson.Result) string {
	if l.id == nil {
		if l.recipe.ID == "" {
			return ""
		}
		return text(item.Get(l.recipe.ID))
	}
	id, err := l.id.Expand(func(path string) (string, bool) {
		v := text(item.Get(path))
		return v, v != ""
	})
	if err != nil {
		return ""
	}
	return id
}

// text is a JSON value as text: a string's content, a number with all its digits, anything else as it stands; empty for
// null and for nothing.
func text(v gjson.Result) string {
	switch v.Type {
	case gjson.Null:
		return ""
	case gjson.String:
		// An escaped half of a surrogate pair has no text: two different ones would become one.
		if strings.Contains(v.Raw, `\u`) && strings.ContainsRune(v.Str, utf8.RuneError) {
			return strings.Clone(v.Raw[1 : len(v.Raw)-1])
		}
		return strings.Clone(v.Str)
	default:
		return strings.Clone(v.Raw)
	}
}

func hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256_" + hex.EncodeToString(sum[:])
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
