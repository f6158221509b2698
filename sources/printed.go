package sources

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"tidings/event"
)

// read makes a page of what a program printed: a JSON array, an object with the array events, or one object a line. The end of the
// sentence says what is wrong with it.
func (x *Exec) read(printed string) (event.Page, error) {
	l := x.list
	l.max = 4 * x.o.MaxBody
	text := strings.Trim(strings.TrimPrefix(printed, "\ufeff"), " \t\r\n")
	if text == "" {
		return event.Page{Idle: true}, nil
	}
	if deep(text) {
		return event.Page{}, fmt.Errorf("is nested deeper than %d levels", maxDepth)
	}
	position, more := "", false
	whole := gjson.Result{}
	if text[0] == '[' || strings.Contains(text, `"events"`) && gjson.Valid(text) {
		var err error
		if whole, err = parse(text); err != nil {
			return event.Page{}, err
		}
	}
	switch {
	case whole.IsArray():
	case whole.IsObject() && whole.Get("events").IsArray():
		l.recipe.Items = "events"
		var err error
		if position, more, err = placeOf(whole); err != nil {
			return event.Page{}, err
		}
	default:
		var err error
		if text, err = joined(text); err != nil {
			return event.Page{}, err
		}
	}
	page, err := l.page(text, place{}, time.Now())
	page.Next, page.Idle = position, !more
	return page, err
}

// placeOf reads what an object says beside its events.
func placeOf(whole gjson.Result) (position string, more bool, err error) {
	switch p := whole.Get("position"); p.Type {
	case gjson.Null:
	case gjson.String, gjson.Number:
		position = text(p)
	default:
		return "", false, fmt.Errorf("has %s at position, where a string should stand", kind(p))
	}
	if len(position) > maxCursor || strings.Contains(position, "\x00") {
		return "", false, fmt.Errorf("has a position of more than %d bytes, or with a NUL character in it", maxCursor)
	}
	switch m := whole.Get("more"); {
	case m.IsBool():
		more = m.Bool()
	case m.Exists():
		return "", false, fmt.Errorf("has %s at more, where true or false should stand", kind(m))
	}
	if more && position == "" {
		return "", false, errors.New("says that there is more, and has no position to go on from")
	}
	return position, more, nil
}

// joined makes one JSON array of JSON lines.
func joined(text string) (string, error) {
	var b strings.Builder
	b.Grow(len(text) + 2)
	b.WriteByte('[')
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if !gjson.Valid(line) {
			return "", fmt.Errorf("is not valid JSON in line %d: want an array of events, one event a line, or an object with the array events", n)
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(line)
	}
	b.WriteByte(']')
	return b.String(), nil
}
