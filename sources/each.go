package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/tidwall/gjson"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

const (
	maxValues     = 10_000 // of a list that for_each goes through
	maxValuePages = 1_000
)

// values are what a list is made for each of. A walk goes through them in the order of their bytes, so that it knows where to go on
// whatever comes and goes meanwhile.
type values struct {
	listing listing
	items   string
	value   string

	mu   sync.Mutex
	walk []string // of the walk that was begun last
}

func (h *HTTP) newValues(e recipe.ForEach) *values {
	return &values{items: e.Items, value: e.Value, listing: listing{
		where: "for_each.", method: http.MethodGet, url: e.URL, query: e.Query, pager: pager{e.Paging, false},
	}}
}

// fetchEach asks for a page of the list of one value. Cursors are JSON: the value, and the cursor within its list. A walk begins with
// a look at the values that there are; one that is gone when its turn comes is passed over.
func (h *HTTP) fetchEach(ctx context.Context, r poller.Request) (event.Page, error) {
	value, inner, err := eachCursor(r.Cursor)
	if err != nil {
		return event.Page{}, failing("%w", err)
	}
	all, err := h.valuesOf(ctx, r.Cursor == "")
	if err != nil {
		return event.Page{}, err
	}
	if r.Cursor == "" {
		if len(all) == 0 {
			return event.Page{Date: h.lastDate(), Idle: true}, nil
		}
		value = all[0]
	}
	r.Cursor, r.Validator = inner, "" // that one list has not changed says nothing of the others
	page, status, err := h.fetch(ctx, r, value)
	if err != nil && (status == http.StatusNotFound || status == http.StatusGone) {
		now, listErr := h.valuesOf(ctx, true)
		if listErr != nil {
			return event.Page{}, listErr
		}
		if !slices.Contains(now, value) {
			all, page, err = now, event.Page{Date: h.lastDate()}, nil
		}
	}
	if err != nil {
		return event.Page{}, err
	}
	page.Validator = ""
	if page.Next == "" {
		after, found := slices.BinarySearch(all, value)
		if found {
			after++
		}
		if after == len(all) {
			return page, nil
		}
		value = all[after]
	}
	page.Idle, page.More = false, true
	cursor, err := json.Marshal([]string{value, page.Next})
	if err != nil {
		return event.Page{}, failing("%w", err)
	}
	page.Next = string(cursor)
	return page, nil
}

// eachCursor takes a cursor apart.
func eachCursor(cursor string) (value, inner string, err error) {
	if cursor == "" {
		return "", "", nil
	}
	var parts []string
	if err := json.Unmarshal([]byte(cursor), &parts); err != nil || len(parts) != 2 || parts[0] == "" {
		return "", "", errors.New("the place in the list is none of a list with for_each; reset the position")
	}
	return parts[0], parts[1], nil
}

// valuesOf returns the values of the walk, which are asked for at its beginning, and after a restart.
func (h *HTTP) valuesOf(ctx context.Context, begin bool) ([]string, error) {
	h.each.mu.Lock()
	defer h.each.mu.Unlock()
	if !begin && h.each.walk != nil {
		return h.each.walk, nil
	}
	all, err := h.fetchValues(ctx)
	if err != nil {
		return nil, err
	}
	h.each.walk = all
	return all, nil
}

// fetchValues asks for all values, sorted, each once.
func (h *HTTP) fetchValues(ctx context.Context) ([]string, error) {
	l := &h.each.listing
	all, seen := []string{}, map[string]bool{}
	for cursor, pages := "", 1; ; pages++ {
		r := poller.Request{Cursor: cursor}
		req, err := h.build(l, r, "", int64(l.pager.Size))
		if err != nil {
			return nil, failing("the values of for_each can't be asked for: %w", err)
		}
		a, err := h.get(ctx, req)
		if err != nil {
			return nil, err
		}
		if a.over {
			return nil, a.tooLarge(h.options.MaxBody)
		}
		if h.empty(a) {
			break
		}
		doc, err := parse(a.body)
		if err != nil {
			return nil, a.unreadable(err)
		}
		found, err := h.each.of(doc)
		if err != nil {
			return nil, a.unreadable(err)
		}
		all = append(all, found...)
		at := place{cursor: cursor, size: l.pager.Size, link: nextLink(a.header), resolve: func(next string) (string, error) {
			return h.keep(l, req.url, next, h.fill(l, r, ""))
		}}
		step, err := l.pager.next(doc, at, len(found), "")
		if err != nil {
			return nil, a.unreadable(err)
		}
		if step.next == "" {
			break
		}
		if seen[step.next] || pages == maxValuePages || len(all) > maxValues {
			return nil, a.unreadable(fmt.Errorf("is one of a list that does not end; for_each takes %d values on %d pages", maxValues, maxValuePages))
		}
		cursor, seen[step.next] = step.next, true
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxValues {
		return nil, failing("%s lists more than the %d values that for_each can go through", h.shown(h.url), maxValues)
	}
	return all, nil
}

// of reads the values on a page.
func (v *values) of(doc gjson.Result) (found []string, err error) {
	items := doc
	if v.items != "" {
		items = doc.Get(v.items)
	}
	if !items.IsArray() {
		return nil, fmt.Errorf("has %s, where the array of for_each should stand", kind(items))
	}
	items.ForEach(func(_, i gjson.Result) bool {
		value := text(i.Get(v.value))
		switch {
		case value == "":
			err = fmt.Errorf("has an item with %s at %s, where the value of for_each should stand", kind(i.Get(v.value)), v.value)
		case len(value) > maxID:
			err = fmt.Errorf("has a value at %s of more than %d bytes", v.value, maxID)
		case len(found) > maxValues:
			err = fmt.Errorf("has more than the %d values that for_each can go through", maxValues)
		}
		found = append(found, value)
		return err == nil
	})
	return found, err
}
