package sources

import (
	"fmt"
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

// meters is an API with a list of readings for each of its meters.
type meters struct {
	*httptest.Server
	names []string       // as listed
	left  map[string]int // readings, on pages of two
	gone  string         // has no list any more
	asked []string
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newMeters(t testing.TB, left map[string]int, names ...string) *meters {
	m := &meters{names: names, left: left}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.asked = append(m.asked, r.URL.RequestURI())
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		page = max(page, 1)
		if m.fault != nil && m.fault(w, r) {
			return
		}
		if r.URL.Path == "/meters" {
			var items []string
			for _, name := range m.names[min((page-1)*2, len(m.names)):min(page*2, len(m.names))] {
				items = append(items, fmt.Sprintf(`{"_id":%q}`, name))
			}
			fmt.Fprintf(w, `{"data":[%s]}`, strings.Join(items, ","))
			return
		}
		name := r.URL.Query().Get("meter")
		if name == m.gone {
			http.NotFound(w, r)
			return
		}
		var items []string
		for i := (page - 1) * 2; i < min(page*2, m.left[name]); i++ {
			items = append(items, fmt.Sprintf(`{"id":"%s-%d","time":"2026-01-02T03:04:05Z"}`, name, i))
		}
		fmt.Fprintf(w, `{"readings":[%s],"more":%v}`, strings.Join(items, ","), page*2 < m.left[name])
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *meters) source(t testing.TB) *HTTP {
	t.Helper()
	h, err := New(recipe.HTTP{
		URL: m.URL + "/readings/{meter}", Query: map[string]string{"meter": "{meter}"}, Items: "readings", ID: "id", Time: "time", Position: "time_window",
		Window: recipe.Window{Since: "since"}, Paging: recipe.Paging{Param: "page", Cursor: "page", More: "more"}, Limits: recipe.Limits{Validators: true},
		ForEach: &recipe.ForEach{URL: m.URL + "/meters", Items: "data", Value: "_id", As: "meter", Paging: recipe.Paging{Param: "page", Cursor: "page"}},
	}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// walk fetches the whole list, with step called before each page but the first, and a new source for each page where forget is set.
func (m *meters) walk(t *testing.T, step func(page int), forget bool) (ids []string, err error) {
	t.Helper()
	h := m.source(t)
	cursor := ""
	for n := range 50 {
		if n > 0 && step != nil {
			step(n)
		}
		if forget {
			h = m.source(t)
		}
		page, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor})
		if err != nil {
			return ids, err
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if cursor = page.Next; cursor == "" {
			return ids, nil
		}
		if page.Idle || page.Validator != "" {
			t.Errorf("page %d: idle %v, validator %q", n, page.Idle, page.Validator)
		}
	}
	t.Fatal("the walk does not end")
	return nil, nil
}

func TestOneListOfMany(t *testing.T) {
	left := map[string]int{"b": 3, "a/1?": 1, "c": 0, "d": 2, "e": 1}
	all := []string{"a/1?-0", "b-0", "b-1", "b-2", "d-0", "d-1", "e-0"}
	for _, forget := range []bool{false, true} {
		m := newMeters(t, left, "b", "e", "a/1?", "d", "c", "b")
		ids, err := m.walk(t, nil, forget)
		if err != nil || !slices.Equal(ids, all) {
			t.Errorf("forget %v: %v, %v", forget, ids, err)
		}
		if !slices.Contains(m.asked, "/readings/a%2F1%3F?meter=a%2F1%3F") {
			t.Errorf("asked %v", m.asked)
		}
		if lists := len(slices.DeleteFunc(slices.Clone(m.asked), func(s string) bool { return !strings.HasPrefix(s, "/meters") })); !forget && lists != 4 {
			t.Errorf("the meters were asked for with %d requests in one walk", lists)
		}
	}

	m := newMeters(t, left, "a/1?", "b", "d", "e")
	ids, err := m.walk(t, func(page int) {
		if page == 3 {
			m.names, m.gone = []string{"a/1?", "b", "e", "f"}, "d"
		}
	}, false)
	if err != nil || !slices.Equal(ids, []string{"a/1?-0", "b-0", "b-1", "b-2", "e-0"}) {
		t.Errorf("a meter that vanished: %v, %v", ids, err)
	}
	if ids, err = m.walk(t, nil, false); err != nil || !slices.Contains(ids, "e-0") {
		t.Errorf("the walk after it: %v, %v", ids, err)
	}

	m = newMeters(t, left, "a/1?", "b")
	m.gone = "b"
	if _, err := m.walk(t, nil, false); err == nil || fetchError(t, err).Lost || !strings.Contains(err.Error(), "404") {
		t.Errorf("a meter that is listed and has no list: %v", err)
	}

	m = newMeters(t, left)
	if ids, err := m.walk(t, nil, false); err != nil || len(ids) > 0 {
		t.Errorf("no meters: %v, %v", ids, err)
	}
	h := m.source(t)
	for _, cursor := range []string{"x", `["a"]`, `["",""]`, `[1,2]`} {
		if _, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor}); err == nil || !strings.Contains(err.Error(), "for_each") {
			t.Errorf("the place %s: %v", cursor, err)
		}
	}
}

func TestValuesThatCanNotBeGoneThrough(t *testing.T) {
	for want, fault := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"answered 500":                    func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true },
		"has an item with nothing at _id": func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, `{"data":[{"id":"a"}]}`); return true },
		"array of for_each":               func(w http.ResponseWriter, r *http.Request) bool { fmt.Fprint(w, `{"data":{}}`); return true },
		"more than 4096 bytes": func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprintf(w, `{"data":[{"_id":"%05000d"}]}`, 1)
			return true
		},
		"does not end": func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, `{"data":[{"_id":"a"}]}`)
			return true
		},
		"more than the 10000 values": func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprintf(w, `{"data":[%s{"_id":"a"}]}`, strings.Repeat(`{"_id":"a"},`, 11_000))
			return true
		},
		"can't stand in an address": func(w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprintf(w, `{"data":[%s]}`, map[bool]string{true: `{"_id":".."}`}[r.URL.RawQuery == ""])
			return r.URL.Path == "/meters"
		},
	} {
		m := newMeters(t, nil)
		m.fault = fault
		_, err := m.walk(t, nil, false)
		if err == nil || fetchError(t, err).Health != event.SourceFailing || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
		if len(m.asked) > maxValuePages+1 {
			t.Errorf("%s: %d requests", want, len(m.asked))
		}
	}
}

// What is listed for two values alike is two events: by the hash that stands for an id, and by an id and a body that have the value.
func TestItemsThatDoNotSayTheirValue(t *testing.T) {
	for id, want := range map[string]string{"": "", "{@each}@{at}": "a@2026-01-02,b@2026-01-02"} {
		e := newEcho(t, "")
		e.body = func(r *http.Request) string {
			if r.URL.Path == "/meters" {
				return `["a","b"]`
			}
			return `[{"at":"2026-01-02"}]`
		}
		h, err := New(recipe.HTTP{
			URL: e.URL + "/{meter}", ID: id, Time: "at", Raw: `{{"meter":{@each},{@fields}}}`, Position: "time_window", Window: recipe.Window{Since: "since"},
			ForEach: &recipe.ForEach{URL: e.URL + "/meters", Value: "@this", As: "meter"},
		}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var ids, bodies []string
		for cursor := "-"; cursor != ""; {
			page, err := h.Fetch(t.Context(), poller.Request{Cursor: strings.Trim(cursor, "-")})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				ids, bodies = append(ids, e.ID), append(bodies, string(e.Data))
			}
			cursor = page.Next
		}
		if len(ids) != 2 || ids[0] == ids[1] || want != "" && strings.Join(ids, ",") != want || bodies[1] != `{"meter":"b","at":"2026-01-02"}` {
			t.Errorf("%q: %q, %q", id, ids, bodies)
		}
	}
}
