package sources

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"

	"tidings/recipe"
)

// maxCursor bounds what an API gives to go on with: it is stored, and sent back.
const maxCursor = 16 << 10

// place is what a request for a page asked for.
type place struct {
	cursor  string                       // empty: the beginning of the list
	each    string                       // the value of for_each whose list it is
	size    int                          // how many items a whole page has; 0: not known
	link    string                       // the answer's Link with rel=next, where the paging needs it
	resolve func(string) (string, error) // makes a cursor of the address of a page, where the paging is by address
}

// pager says by an answer how its list goes on.
type pager struct {
	recipe.Paging
	tail bool // the place at the end of the list is kept for the next poll
}

// step is how a list goes on.
type step struct {
	next string // the cursor; empty where there is none
	said bool   // the API says so itself
	idle bool   // there is nothing at once
}

// byURL reports whether the cursor is the address of a page.
func (p pager) byURL() bool { return p.In == recipe.InURL || p.Cursor == recipe.Link }

// counted reports whether the cursor is a number that we count.
func (p pager) counted() bool { return p.Cursor == recipe.Page || p.Cursor == recipe.Offset }

// number is the counted cursor's value.
func (p pager) number(cursor string) (int, error) {
	if cursor == "" {
		if p.Cursor == recipe.Page && !p.Zero {
			return 1, nil
		}
		return 0, nil
	}
	n, err := strconv.Atoi(cursor)
	if err != nil || n < 0 || n > 1e15 {
		return 0, fmt.Errorf("the place %.40q is no number of a %s; was the paging changed? Then reset the position", cursor, p.Cursor)
	}
	return n, nil
}

// next says how the list goes on after the answer doc, which has n items, of which last is the last id.
func (p pager) next(doc gjson.Result, at place, n int, last string) (step, error) {
	if p.Cursor == "" {
		return step{idle: p.tail}, nil
	}
	next, err := p.cursor(doc, at, n, last)
	if err != nil {
		return step{}, err
	}
	more, said := next != "" && n > 0 && !p.short(at, n), p.More != "" || p.Done != ""
	switch {
	case p.More != "":
		more, err = boolean(doc, p.More)
	case p.Done != "":
		more, err = boolean(doc, p.Done)
		more = !more
	}
	if err != nil {
		return step{}, err
	}
	if p.Current != "" {
		was, err := p.was(doc, at)
		if err != nil {
			return step{}, err
		}
		more = more && was
	}
	switch {
	case !more && p.tail:
		return step{next: p.rest(next, at, n), idle: true}, nil
	case !more:
		return step{}, nil
	case next == "":
		return step{}, fmt.Errorf("says that there are more pages, but has %s to ask for the next one with", p.lacks())
	case next == at.cursor:
		return step{}, errors.New("says that the next page is this one again; look at paging, whether param and in say what takes the cursor, " +
			"and more or done where the list ends")
	}
	return step{next: next, said: said}, nil
}

// lacks says what a page lacks that has no cursor.
func (p pager) lacks() string {
	switch p.Cursor {
	case recipe.LastID:
		return "no item with an id"
	case recipe.Link:
		return "no Link header with rel=next"
	}
	return "nothing at " + p.Cursor
}

// cursor is what asks for the page after this one, if there is one.
func (p pager) cursor(doc gjson.Result, at place, n int, last string) (next string, err error) {
	switch p.Cursor {
	case recipe.LastID:
		next = last
	case recipe.Page, recipe.Offset:
		number, err := p.number(at.cursor)
		if err != nil {
			return "", err
		}
		if p.Cursor == recipe.Page {
			n = 1
		}
		return strconv.Itoa(number + n), nil
	case recipe.Link:
		next = at.link
	default:
		v := doc.Get(p.Cursor)
		if v.Type == gjson.JSON || v.Type == gjson.True {
			return "", fmt.Errorf("has %s at %s, where what asks for the next page should stand", kind(v), p.Cursor)
		}
		if v.Type != gjson.False { // one way to say that there is none
			next = text(v)
		}
	}
	if next == "" {
		return "", nil
	}
	if p.byURL() {
		if next, err = at.resolve(next); err != nil {
			return "", err
		}
	}
	switch {
	case len(next) > maxCursor:
		return "", fmt.Errorf("has a cursor of more than %d bytes", maxCursor)
	case p.In == recipe.InHeader && hasControl(next):
		return "", errors.New("has a cursor with control characters, which no header can take")
	}
	return next, nil
}

// short reports whether the page has fewer items than a whole one, which is the end of a list that has no other word for it. A cursor
// that the API gives is such a word.
func (p pager) short(at place, n int) bool {
	return (p.counted() || p.Cursor == recipe.LastID) && at.size > 0 && n < at.size
}

// was reports whether the answer is the page that was asked for: past the end, APIs give the last page again.
func (p pager) was(doc gjson.Result, at place) (bool, error) {
	asked, err := p.number(at.cursor)
	if err != nil {
		return false, err
	}
	v := doc.Get(p.Current)
	if text(v) == "" {
		return false, fmt.Errorf("has %s at %s, where the number of the page should stand", kind(v), p.Current)
	}
	return text(v) == strconv.Itoa(asked), nil
}

// rest is where a list that has come to its end for now goes on later. A page that more items fit into is asked for again.
func (p pager) rest(next string, at place, n int) string {
	if p.Cursor == recipe.Page && (at.size == 0 || n < at.size) {
		return at.cursor
	}
	return next
}

func boolean(doc gjson.Result, path string) (bool, error) {
	v := doc.Get(path)
	if !v.IsBool() {
		return false, fmt.Errorf("has %s at %s, where true or false should say whether there are more pages", kind(v), path)
	}
	return v.Bool(), nil
}
