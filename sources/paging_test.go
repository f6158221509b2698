package sources

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// paged is an API of n items on pages of size, that takes and gives cursors as a recipe says.
type paged struct {
	*httptest.Server
	recipe recipe.HTTP
	n      int
	size   int
	asked  []string // the cursors of the requests, empty for none
}

func newPaged(t testing.TB, n, size int, r recipe.HTTP) *paged {
	p := &paged{recipe: r, n: n, size: size}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	p.recipe.Items = "data"
	p.recipe.ID = "id"
	p.recipe.Time = "at"
	p.recipe.Method = "GET"
	if p.recipe.Position == "" {
		p.recipe.Position = recipe.HeadWalk
	}
	if p.recipe.Position == recipe.TimeWindow {
		p.recipe.Window.Since = "since"
	}
	p.recipe.URL = p.URL + "/list?fixed=1"
	switch paging := &p.recipe.Paging; paging.In {
	case "", recipe.InQuery:
		paging.Param = "cursor"
	case recipe.InBody:
		paging.Param = "page.cursor"
		p.recipe.Method, p.recipe.Body = "POST", `{{"page":{{"of":"x"}}}}`
	case recipe.InHeader:
		paging.Param = "X-Cursor"
	case recipe.InPath:
		p.recipe.URL = p.URL + "/list/{cursor}?fixed=1"
	}
	return p
}

// cursor is the request's.
func (p *paged) cursor(r *http.Request) string {
	switch p.recipe.Paging.In {
	case recipe.InBody:
		var body struct{ Page struct{ Cursor any } }
		decoder := json.NewDecoder(r.Body)
		decoder.UseNumber()
		if decoder.Decode(&body) != nil || body.Page.Cursor == nil {
			return ""
		}
		if _, isNumber := body.Page.Cursor.(json.Number); isNumber != (p.recipe.Paging.Cursor == recipe.Page || p.recipe.Paging.Cursor == recipe.Offset) {
			return "wrong kind"
		}
		return fmt.Sprint(body.Page.Cursor)
	case recipe.InHeader:
		return r.Header.Get("X-Cursor")
	case recipe.InPath:
		return strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/list"), "/")
	}
	return r.URL.Query().Get("cursor")
}

func (p *paged) serve(w http.ResponseWriter, r *http.Request) {
	cursor := p.cursor(r)
	p.asked = append(p.asked, cursor)
	if r.URL.Query().Get("fixed") != "1" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	paging, start, number := p.recipe.Paging, 0, 0
	number, _ = strconv.Atoi(cursor)
	switch paging.Cursor {
	case recipe.LastID:
		fmt.Sscanf(cursor, "e%d", &start)
	case recipe.Page:
		if !paging.Zero {
			number = max(number, 1) - 1
		}
		start = number * p.size
		if paging.Current != "" { // past the end, the last page again
			start = min(start, (p.n-1)/p.size*p.size)
		}
	case recipe.Offset:
		start = number
	default:
		fmt.Sscanf(cursor, "t/%d", &start)
	}
	start = min(start, p.n)
	end := min(start+p.size, p.n)
	items := []string{}
	for i := start; i < end; i++ {
		items = append(items, fmt.Sprintf(`{"id":"e%d","at":"2026-01-02T03:04:05Z"}`, i+1))
	}
	next, link := "null", ""
	if end < p.n || paging.Done != "" && p.recipe.Position == recipe.TailCursor {
		next = fmt.Sprintf(`"t/%d"`, end)
		if paging.In == recipe.InURL {
			next = fmt.Sprintf(`"/list?fixed=1&cursor=t%%2F%d"`, end)
		}
		link = fmt.Sprintf(`<%s/other>; rel="prev", <?fixed=1&cursor=t%%2F%d>; title="a, b"; rel="last next"`, p.URL, end)
	}
	if link != "" {
		w.Header().Set("Link", link)
	}
	shown := start / p.size
	if !paging.Zero {
		shown++
	}
	fmt.Fprintf(w, `{"data":[%s],"next":{"c":%s},"more":%v,"done":%v,"page":%d}`, strings.Join(items, ","), next, end < p.n, end >= p.n, shown)
}

// walk fetches all pages of a list.
func (p *paged) walk(t *testing.T) (ids []string, pages []event.Page) {
	t.Helper()
	h, err := New(p.recipe, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for cursor := ""; len(pages) < 20; {
		page, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if cursor = page.Next; cursor == "" || page.Idle {
			return ids, pages
		}
	}
	t.Fatal("the walk does not end")
	return nil, nil
}

// A path may be named as the words that mean something else (Airtable's offset is a text).
func TestACursorThatIsNamedAsAWord(t *testing.T) {
	for _, word := range []string{recipe.LastID, recipe.Page, recipe.Offset, recipe.Link} {
		body := fmt.Sprintf(`{"data":[{"id":"a"}],%q:"itr/7"}`, word)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
		defer server.Close()
		r := recipe.HTTP{URL: server.URL, Items: "data", Position: "time_window", Time: "at", Window: recipe.Window{Since: "since"},
			Paging: recipe.Paging{Param: "c", Cursor: `\` + word}}
		h, err := New(r, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if page, err := h.Fetch(t.Context(), poller.Request{}); err != nil || page.Next != "itr/7" {
			t.Errorf("%s: next is %q, %v", word, page.Next, err)
		}
	}
}

func TestEveryCursorInEveryPlace(t *testing.T) {
	ends := map[string]func(*recipe.Paging){
		"by more":    func(p *recipe.Paging) { p.More = "more" },
		"by done":    func(p *recipe.Paging) { p.Done = "done" },
		"short page": func(p *recipe.Paging) { p.Size = 3 },
		"nothing":    func(p *recipe.Paging) {},
	}
	kinds := map[string]recipe.Paging{
		"last id": {Cursor: recipe.LastID}, "path": {Cursor: "next.c"}, "page": {Cursor: recipe.Page}, "page from 0": {Cursor: recipe.Page, Zero: true},
		"offset": {Cursor: recipe.Offset}, "current": {Cursor: recipe.Page, Current: "page"}, "link": {Cursor: recipe.Link, In: recipe.InURL},
		"address": {Cursor: "next.c", In: recipe.InURL},
	}
	for kind, paging := range kinds {
		places := []string{recipe.InQuery, recipe.InBody, recipe.InHeader, recipe.InPath}
		if paging.In != "" {
			places = []string{paging.In}
		}
		for _, place := range places {
			for end, set := range ends {
				for _, position := range []string{recipe.HeadWalk, recipe.TimeWindow, recipe.TailCursor} {
					for _, n := range []int{0, 1, 3, 7, 9} {
						name := fmt.Sprint(kind, " in ", place, ", end ", end, ", ", position, ", ", n)
						if paging.Current != "" && n == 0 {
							continue // there is no last page to repeat
						}
						p := paging
						p.In = place
						set(&p)
						api := newPaged(t, n, 3, recipe.HTTP{Paging: p, Position: position})
						ids, pages := api.walk(t)
						want := []string{}
						for i := range n {
							want = append(want, fmt.Sprint("e", i+1))
						}
						if paging.Current != "" && p.More+p.Done == "" {
							slices.Sort(ids) // the last page came twice
							ids = slices.Compact(ids)
						}
						if !slices.Equal(ids, want) && len(ids)+len(want) > 0 {
							t.Errorf("%s: got %v by asking for %q", name, ids, api.asked)
						}
						last := pages[len(pages)-1]
						if tail := position == recipe.TailCursor; last.Idle != tail || !tail && last.Next != "" {
							t.Errorf("%s: ends with next %q, idle %v", name, last.Next, last.Idle)
						}
						said := p.More != "" || p.Done != ""
						for _, page := range pages[:len(pages)-1] {
							if page.More != said || page.Idle || page.Full != (p.Size > 0) {
								t.Errorf("%s: a page on the way has more %v, idle %v, full %v", name, page.More, page.Idle, page.Full)
							}
						}
						api.Close()
					}
				}
			}
		}
	}
}

// The API takes its own id for a cursor, whatever tells one version of a resource from another.
func TestTheLastIDOfASnapshot(t *testing.T) {
	api := newPaged(t, 7, 3, recipe.HTTP{
		Position: recipe.Snapshot, Changes: recipe.Changes{Resource: "id", Updated: "=x"}, Paging: recipe.Paging{Cursor: recipe.LastID, More: "more"},
	})
	if ids, _ := api.walk(t); len(ids) != 7 || !slices.Equal(api.asked, []string{"", "e3", "e6"}) {
		t.Errorf("%v by asking for %q", ids, api.asked)
	}
}

// A tail's place is what goes on behind what there is now.
func TestATailGoesOnWhereItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		paging recipe.Paging
		grow   int
	}{
		"iterator": {recipe.Paging{Cursor: "next.c", Done: "done"}, 2},
		"last id":  {recipe.Paging{Cursor: recipe.LastID, More: "more"}, 2},
		"offset":   {recipe.Paging{Cursor: recipe.Offset, Size: 3}, 2},
		"page":     {recipe.Paging{Cursor: recipe.Page, Size: 3}, 6},
	} {
		api := newPaged(t, 5, 3, recipe.HTTP{Paging: test.paging, Position: recipe.TailCursor})
		_, pages := api.walk(t)
		place := pages[len(pages)-1].Next
		api.n += test.grow
		h, err := New(api.recipe, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for range 5 {
			page, err := h.Fetch(t.Context(), poller.Request{Cursor: place})
			if err != nil {
				t.Fatal(name, err)
			}
			for _, e := range page.Events {
				ids = append(ids, e.ID)
			}
			if place = page.Next; page.Idle {
				break
			}
		}
		for i := 5; i < api.n; i++ {
			if !slices.Contains(ids, fmt.Sprint("e", i+1)) {
				t.Errorf("%s: e%d is missing in %v", name, i+1, ids)
			}
		}
		if slices.Contains(ids, "e3") {
			t.Errorf("%s: what was taken long ago came again: %v", name, ids)
		}
	}
}

// An empty page with the same address is how Auth0 says that nothing is there, and the first answer of Svix has none either.
func TestAnEmptyPageOfATail(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":[],"next":"t1","done":true}`:                                        "t1 idle",
		`{"data":[],"next":"t2","done":false}`:                                       "t2",
		`{"data":[],"next":null,"done":true}`:                                        " idle",
		`{"data":[{"id":"a"}],"next":null,"done":true}`:                              " idle",
		`{"data":[{"id":"a"}],"next":"t1","done":false}`:                             "error",
		`{"data":[{"id":"a"}],"next":{"c":"t2"},"done":false}`:                       "error",
		`{"data":[{"id":"a"}],"next":true,"done":false}`:                             "error",
		`{"data":[{"id":"a"}],"next":false,"done":true}`:                             " idle",
		`{"data":[],"next":"t1","done":false}`:                                       "error",
		`{"data":[],"next":"t2"}`:                                                    "error",
		`{"data":[],"next":"` + strings.Repeat("x", maxCursor+1) + `","done":false}`: "error",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
		defer server.Close()
		h, err := New(recipe.HTTP{URL: server.URL, Items: "data", ID: "id", Position: recipe.TailCursor, Paging: recipe.Paging{Param: "c", Cursor: "next", Done: "done"}}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		page, err := h.Fetch(t.Context(), poller.Request{Cursor: "t1"})
		got := page.Next
		if page.Idle {
			got += " idle"
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: got %q, %v; want %q", body, got, err, want)
		}
	}
}
