package sources

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

func TestAcknowledging(t *testing.T) {
	events := []event.Event{{ID: "a/1"}, {ID: `b"2`}, {ID: "c"}}
	for name, test := range map[string]struct {
		ack  recipe.Ack
		want []string
	}{
		"by its address": {recipe.Ack{Method: "PATCH", URL: "/events/{id}", Body: `{{"done":true}}`}, []string{
			`PATCH /events/a%2F1 {"done":true}`, `PATCH /events/b%222 {"done":true}`, `PATCH /events/c {"done":true}`}},
		"by a body": {recipe.Ack{URL: "/ack", Body: `[{{"id":{id}}}]`}, []string{`POST /ack [{"id":"a/1"}]`, `POST /ack [{"id":"b\"2"}]`, `POST /ack [{"id":"c"}]`}},
		"all":       {recipe.Ack{URL: "/ack", Body: `{{"ids":{ids},"at":{cursor}}}`}, []string{`POST /ack {"ids":["a/1","b\"2","c"],"at":"t1"}`}},
		"a place":   {recipe.Ack{Method: "PUT", URL: "/commit", Body: `{{"offset":{cursor}}}`}, []string{`PUT /commit {"offset":"t1"}`}},
		"no body":   {recipe.Ack{Method: "DELETE", URL: "/events/{id}?x={who}"}, []string{`DELETE /events/a%2F1?x=me`, `DELETE /events/b%222?x=me`, `DELETE /events/c?x=me`}},
	} {
		e := newEcho(t, "")
		test.ack.URL = e.URL + test.ack.URL
		h, err := New(recipe.HTTP{URL: e.URL + "/events", ID: "id", Position: "ack", Ack: test.ack}, secrets(map[string]string{"who": "me"}), Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		if err := h.Ack(t.Context(), "t1", events); err != nil || !slices.Equal(e.asked, test.want) {
			t.Errorf("%s: %q, %v", name, e.asked, err)
		}
		e.asked = nil
		mixed := []event.Event{{ID: hash("x")}, events[2], {ID: hash("y"), Broken: "it is a number"}}
		err = h.Ack(t.Context(), "t1", mixed)
		if err == nil || fetchError(t, err).Health != event.SourceFailing || !strings.Contains(err.Error(), "2 events") || len(e.asked) != 1 {
			t.Errorf("%s: some without an id: %q, %v", name, e.asked, err)
		}
		e.asked = nil
		if err := h.Ack(t.Context(), "t1", nil); err != nil || len(e.asked) > 0 {
			t.Errorf("%s: nothing to acknowledge: %q, %v", name, e.asked, err)
		}
	}
}

func TestAcknowledgingFails(t *testing.T) {
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	h, err := New(recipe.HTTP{URL: server.URL, ID: "id", Position: "ack", Ack: recipe.Ack{URL: server.URL + "/{id}"}}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = h.Ack(t.Context(), "", []event.Event{{ID: "a"}, {ID: "b"}, {ID: "c"}})
	if fe := fetchError(t, err); fe.Health != event.SourceLimited || fe.After != 7*time.Second || n != 2 || !strings.Contains(err.Error(), "POST "+server.URL+"/b") {
		t.Errorf("%v after %d requests", err, n)
	}
	if err := h.Ack(t.Context(), "", []event.Event{{ID: ".."}}); err == nil || n != 2 || !strings.Contains(err.Error(), "can't stand in an address") {
		t.Errorf("%v after %d requests", err, n)
	}
}

// An event that the API does not let be acknowledged holds up no other.
func TestOneAcknowledgementFails(t *testing.T) {
	for status, others := range map[int]bool{400: true, 404: true, 409: true, 410: true, 422: true, 401: false, 403: false, 429: false, 500: false} {
		var asked []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			if r.URL.Path == "/a" {
				w.WriteHeader(status)
			}
		}))
		defer server.Close()
		h, err := New(recipe.HTTP{URL: server.URL, ID: "id", Position: "ack", Ack: recipe.Ack{URL: server.URL + "/{id}"}}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = h.Ack(t.Context(), "", []event.Event{{ID: "a"}, {ID: ".."}, {ID: "b"}})
		if fe := fetchError(t, err); fe.Rest != others || slices.Contains(asked, "/b") != others || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %q, the rest %v: %v", status, asked, fe.Rest, err)
		}
	}
}

func TestSeeking(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	e := newEcho(t, `{"iterator":"i/7"}`)
	r := recipe.HTTP{
		URL: e.URL + "/poll", Items: "data", ID: "id", Position: "tail_cursor", Paging: recipe.Paging{Param: "iterator", Cursor: "iterator", Done: "done"},
		Seek: recipe.Seek{URL: e.URL + "/seek", Body: `{{"after":{start}}}`, Cursor: "iterator"},
	}
	h, err := New(r, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := h.Seek(t.Context(), at)
	if err != nil || cursor != "i/7" || e.asked[0] != `POST /seek {"after":"2026-01-02T03:04:05Z"}` {
		t.Errorf("%q, %v by %q", cursor, err, e.asked)
	}
	for body, want := range map[string]string{`{"iterator":null}`: "no cursor at iterator", `x`: "not valid JSON", `{"iterator":"` + strings.Repeat("x", maxCursor+1) + `"}`: "no cursor"} {
		e.body = func(*http.Request) string { return body }
		if _, err := h.Seek(t.Context(), at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30s: %v", body, err)
		}
	}
	r.Seek, r.Paging = recipe.Seek{URL: e.URL + "/seek?at={start}", Method: "GET", Cursor: "next"}, recipe.Paging{In: "url", Cursor: "next"}
	if h, err = New(r, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	e.body = func(*http.Request) string { return `{"next":"https://evil.example/x"}` }
	if _, err := h.Seek(t.Context(), at); err == nil || !strings.Contains(err.Error(), "another origin") {
		t.Errorf("%v", err)
	}
	e.body = func(*http.Request) string { return `{"next":"/x?at=7"}` }
	if cursor, err := h.Seek(t.Context(), at); err != nil || cursor != "/x?at=7" {
		t.Errorf("%q, %v", cursor, err)
	}
	r.Seek, r.Window.Layout, r.Paging.In = recipe.Seek{URL: e.URL + "/seek", Body: `{{"from":{start}}}`, Cursor: "next"}, "unix", ""
	r.Paging.Param = "c"
	if h, err = New(r, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Seek(t.Context(), at); err != nil || e.asked[len(e.asked)-1] != fmt.Sprintf(`POST /seek {"from":%d}`, at.Unix()) {
		t.Errorf("a time that is a number was sought by %s, %v", e.asked[len(e.asked)-1], err)
	}
}

func TestAnswersThatSayThatNothingIsThere(t *testing.T) {
	rules := []recipe.ErrorRule{{Status: 404, Path: "code", Equals: "none", Means: recipe.Empty}, {Status: 200, Path: "status", Equals: "no_data", Means: recipe.Empty}, {Status: 202, Means: recipe.Empty},
		{Status: 200, Path: "items", Missing: true, Means: recipe.Empty}}
	for _, test := range []struct {
		status int
		body   string
		ok     bool
	}{
		{204, "", true}, {404, `{"code":"none"}`, true}, {404, `{"code":"other"}`, false}, {200, `{"status":"no_data"}`, true}, {200, `{"kind":"x"}`, true},
		{200, `{"items":null}`, true}, {200, `{"items":[]}`, false}, {202, "soon", true}, {200, "", false}, {205, "", false},
	} {
		for _, position := range []string{"tail_cursor", "head_walk"} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}))
			h, err := New(recipe.HTTP{URL: server.URL, Items: "data", ID: "id", Position: position, Paging: recipe.Paging{Param: "c", Cursor: "next", More: "more"}, Errors: rules}, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			page, err := h.Fetch(t.Context(), poller.Request{Cursor: "t1"})
			if (err == nil) != test.ok || err == nil && (!page.Idle || page.Next != "" || len(page.Events) > 0 || page.Date.IsZero()) {
				t.Errorf("%d %s: %+v, %v", test.status, test.body, page, err)
			}
			server.Close()
		}
	}
}

// A tail's cursor is its place: only what can't mean anything else says that it is lost. A page that is counted is no place at all.
func TestWhichPlacesAreLost(t *testing.T) {
	for _, test := range []struct {
		position string
		cursor   string
		lost     []int
	}{
		{"tail_cursor", "next", []int{410}}, {"head_walk", "next", []int{400, 404, 410, 422}}, {"head_walk", "offset", nil}, {"snapshot", "next", nil},
	} {
		for _, status := range []int{400, 404, 410, 422, 500} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
			r := recipe.HTTP{URL: server.URL, ID: "id", Position: test.position, Paging: recipe.Paging{Param: "c", Cursor: test.cursor}}
			if test.position == "snapshot" {
				r.Changes = recipe.Changes{Resource: "id", Created: "=c"}
			}
			h, err := New(r, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Fetch(t.Context(), poller.Request{Cursor: "10"})
			if fe := fetchError(t, err); fe.Lost != slices.Contains(test.lost, status) {
				t.Errorf("%s by %s, %d: lost %v", test.position, test.cursor, status, fe.Lost)
			}
			server.Close()
		}
	}
}

// What pages can be made smaller, and what can't says so.
func TestWhichPagesAreHalved(t *testing.T) {
	for name, test := range map[string]struct {
		position string
		paging   recipe.Paging
		cursor   string
		limits   string // asked for, of the large answers
		err      string
	}{
		"tail":    {"tail_cursor", recipe.Paging{Param: "c", Cursor: "next"}, "t1", "8 4 2", ""},
		"page":    {"head_walk", recipe.Paging{Param: "c", Cursor: "page"}, "2", "8", "set paging.size lower"},
		"offset":  {"head_walk", recipe.Paging{Param: "c", Cursor: "offset"}, "8", "8", "set paging.size lower"},
		"address": {"head_walk", recipe.Paging{In: "url", Cursor: "next"}, "/x", "", "set paging.size lower"},
		"one":     {"tail_cursor", recipe.Paging{Param: "c", Cursor: "next", Size: 1}, "t1", "1", "one event only"},
		"unasked": {"tail_cursor", recipe.Paging{Param: "c", Cursor: "next", Limit: "-"}, "t1", "", "set paging.limit"},
		"body":    {"tail_cursor", recipe.Paging{In: "body", Param: "c", Cursor: "next"}, "t1", "8 4 2", ""},
	} {
		var limits []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limit := r.URL.Query().Get("limit")
			if test.paging.In == "body" {
				var size int
				body, _ := io.ReadAll(r.Body)
				fmt.Sscanf(string(body), `{"c":"t1","limit":%d}`, &size)
				limit = fmt.Sprint(size)
			}
			n := 8
			if limit != "" {
				limits = append(limits, limit)
				fmt.Sscan(limit, &n)
			}
			fmt.Fprintf(w, `{"data":[%s],"next":"t2"}`, strings.TrimSuffix(strings.Repeat(`{"id":"a","x":"`+strings.Repeat("x", 800/cmp.Or(test.paging.Size, 8))+`"},`, n), ","))
		}))
		test.paging.Limit, test.paging.Size = strings.Trim(cmp.Or(test.paging.Limit, "limit"), "-"), cmp.Or(test.paging.Size, 8)
		r := recipe.HTTP{URL: server.URL, Items: "data", ID: "id", Position: test.position, Paging: test.paging}
		if test.paging.In == "body" {
			r.Method = "POST"
		}
		h, err := New(r, nil, Options{MaxBody: 400})
		if err != nil {
			t.Fatal(name, err)
		}
		page, err := h.Fetch(t.Context(), poller.Request{Cursor: test.cursor})
		if test.err == "" && (err != nil || len(page.Events) != 2 || !page.Full) || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: %d events, %v", name, len(page.Events), err)
		}
		if got := strings.Join(limits, " "); got != test.limits {
			t.Errorf("%s: asked for %s", name, got)
		}
		server.Close()
	}
}

// A tail is never begun anew, so its pages are whole again once it has come to its end.
func TestATailsPagesAreWholeAgainAfterItsEnd(t *testing.T) {
	var limits []string
	backlog := 4
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := 0
		fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		limits = append(limits, r.URL.Query().Get("limit"))
		n := min(limit, backlog)
		if n*100 < 300 {
			backlog -= n
		}
		fmt.Fprintf(w, `{"data":[%s],"next":"t%d","done":%v}`, strings.TrimSuffix(strings.Repeat(`{"id":"a","x":"`+strings.Repeat("x", 100)+`"},`, n), ","), backlog, backlog == 0)
	}))
	defer server.Close()
	h, err := New(recipe.HTTP{
		URL: server.URL, Items: "data", ID: "id", Position: "tail_cursor", Paging: recipe.Paging{Param: "c", Cursor: "next", Done: "done", Limit: "limit", Size: 8},
	}, nil, Options{MaxBody: 320})
	if err != nil {
		t.Fatal(err)
	}
	for _, cursor := range []string{"t4", "t2", "t0"} {
		if _, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor}); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(limits, " "); got != "8 4 2 2 8" {
		t.Errorf("asked for %s", got)
	}
}
