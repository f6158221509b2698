package sources

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"tidings/event"
	"tidings/recipe"
)

// rawBody is the template of an event's body. JSON goes into it byte for byte.
type rawBody struct {
	text recipe.Template
	bare recipe.Template // for an item without members: without {@fields} and the comma beside it
}

var fieldsComma = regexp.MustCompile(`,\s*\{@fields\}|\{@fields\}\s*,|\{@fields\}`)

func newRawBody(text string) (*rawBody, error) {
	r := &rawBody{}
	var err error
	if r.text, err = recipe.ParseTemplate(text); err != nil {
		return nil, fmt.Errorf("raw %w", err)
	}
	if r.bare, err = recipe.ParseTemplate(fieldsComma.ReplaceAllString(text, "")); err != nil {
		return nil, fmt.Errorf("raw %w", err)
	}
	return r, nil
}

// expand makes the body of e, which i was listed as; now is the server's clock. What is missing is null.
func (r *rawBody) expand(i *item, e *event.Event, now time.Time) []byte {
	fields := ""
	if i.IsObject() {
		fields = strings.TrimSpace(i.Raw[1 : len(i.Raw)-1])
	}
	t := r.text
	if fields == "" {
		t = r.bare
	}
	body, err := t.Expand(func(path string) (string, bool) {
		switch path {
		case "@item":
			return i.Raw, true
		case "@fields":
			return fields, true
		case "@id":
			return quote(e.ID), true
		case "@type":
			return quote(e.Type), true
		case "@time":
			return moment(e.Time), true
		case "@now":
			return moment(now), true
		case "@hash", "@index", "@each":
			return quote(i.get(path)), true
		}
		v := i.Get(path)
		if rest, inAround := strings.CutPrefix(path, "@item."); inAround {
			v = i.around.Get(rest)
		}
		if v.Raw == "" {
			return "null", true
		}
		return v.Raw, true
	})
	if err != nil {
		panic(err) // every name has a value
	}
	return []byte(body)
}

// quote is a text as a JSON string.
func quote(s string) string { return string(gjson.AppendJSONString(nil, s)) }

// moment is a time as JSON.
func moment(t time.Time) string {
	if t.IsZero() {
		return "null"
	}
	return quote(t.UTC().Format(time.RFC3339Nano))
}
