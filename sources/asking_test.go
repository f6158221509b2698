package sources

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// echo is an API that gives what body says and keeps each request as "METHOD path?query body".
type echo struct {
	*httptest.Server
	body   func(r *http.Request) string
	header http.Header
	asked  []string
	last   *http.Request
}

func newEcho(t testing.TB, body string) *echo {
	e := &echo{body: func(*http.Request) string { return body }, header: http.Header{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e.asked = append(e.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(sent)))
		e.last = r
		maps.Copy(w.Header(), e.header)
		io.WriteString(w, e.body(r))
	}))
	t.Cleanup(e.Close)
	return e
}

func secrets(texts map[string]string) map[string]event.Secret {
	values := map[string]event.Secret{}
	for key, text := range texts {
		values[key] = event.NewSecret(text)
	}
	return values
}

func TestWhatIsAskedFor(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	midnight := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	window := poller.Request{Since: at, Until: at}
	values := map[string]string{"name": `a"b&c`, "id": "x/y"}
	for name, test := range map[string]struct {
		recipe  recipe.HTTP
		request poller.Request
		want    string
	}{
		"body": {recipe.HTTP{Method: "POST", Body: `{{"name":{name},"n":1.0,"none":{none}}}`}, poller.Request{},
			`POST /list {"name":"a\"b\u0026c","n":1.0,"none":null}`},
		"cursor in the body": {recipe.HTTP{Method: "POST", Body: `{{"a":{{"n":1.50}}}}`, Paging: recipe.Paging{Param: "a.b.c", In: "body", Cursor: "next"}},
			poller.Request{Cursor: `"x`}, `POST /list {"a":{"b":{"c":"\"x"},"n":1.50}}`},
		"all in the body": {recipe.HTTP{Method: "POST", Position: "tail_cursor", First: map[string]string{"reset.start": "{start}", "reset.who": "{name}"},
			Paging: recipe.Paging{Param: "cursor", In: "body", Cursor: "next", Limit: "reset.limit", Size: 10}},
			poller.Request{From: at}, `POST /list {"reset":{"limit":10,"start":"2026-01-02T03:04:05Z","who":"a\"b\u0026c"}}`},
		"first as JSON": {recipe.HTTP{Method: "POST", Position: "tail_cursor", Window: recipe.Window{Layout: "unix"},
			First:  map[string]string{"a.from": "{start}", "a.n": "100", "a.all": "true", "a.text": `"7"`, "a.word": "new", "a.who": "{id}", "a.at": "{start}Z"},
			Paging: recipe.Paging{Param: "a.n", In: "body", Cursor: "next"}},
			poller.Request{From: at}, `POST /list {"a":{"all":true,"at":"1767323045Z","from":1767323045,"n":100,"text":"7","who":"x/y","word":"new"}}`},
		"a cursor where first has a number": {recipe.HTTP{Method: "POST", Position: "tail_cursor", Window: recipe.Window{Layout: "unix"},
			First: map[string]string{"c": "{start}"}, Paging: recipe.Paging{Param: "c", In: "body", Cursor: "next"}}, poller.Request{Cursor: "7"}, `POST /list {"c":"7"}`},
		"first": {recipe.HTTP{Position: "tail_cursor", First: map[string]string{"after": "{start}", "who": "{name}"}, Query: map[string]string{"q": "1"}}, poller.Request{From: at},
			"GET /list?after=2026-01-02T03%3A04%3A05Z&q=1&who=a%22b%26c"},
		"first without a time": {recipe.HTTP{Position: "tail_cursor", First: map[string]string{"after": "{start}", "who": "{name}"}}, poller.Request{}, "GET /list?who=a%22b%26c"},
		"first in a layout": {recipe.HTTP{Position: "tail_cursor", First: map[string]string{"after": "{start}"}, Window: recipe.Window{Layout: "unix"}}, poller.Request{From: at},
			"GET /list?after=1767323045"},
		"not the first":          {recipe.HTTP{Position: "tail_cursor", First: map[string]string{"after": "{start}"}}, poller.Request{Cursor: "c", From: at}, "GET /list?cursor=c"},
		"window":                 {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until"}}, window, "GET /list?since=2026-01-02T03%3A04%3A05Z&until=2026-01-02T03%3A04%3A06Z"},
		"window in days":         {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until", Layout: "2006-01-02"}}, window, "GET /list?since=2026-01-02&until=2026-01-03"},
		"window to the day":      {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until", Layout: "2006-01-02"}}, poller.Request{Since: midnight, Until: midnight}, "GET /list?since=2026-01-02&until=2026-01-02"},
		"window in minutes":      {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until", Layout: "2006-01-02T15:04"}}, window, "GET /list?since=2026-01-02T03%3A04&until=2026-01-02T03%3A05"},
		"window in seconds":      {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until", Layout: "unix"}}, window, "GET /list?since=1767323045&until=1767323046"},
		"window in milliseconds": {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until", Layout: "unix_ms"}}, window, "GET /list?since=1767323045000&until=1767323045001"},
		"window in the body": {recipe.HTTP{Method: "POST", Window: recipe.Window{Since: "w.since", Layout: "unix"}, Paging: recipe.Paging{Param: "c", In: "body", Cursor: "next"}},
			window, `POST /list {"w":{"since":1767323045}}`},
		"window in a header":      {recipe.HTTP{Window: recipe.Window{In: "header", Since: "If-Modified-Since"}, Paging: recipe.Paging{Param: "page", Cursor: "page"}}, window, "GET /list"},
		"open window":             {recipe.HTTP{Window: recipe.Window{Since: "since", Until: "until"}}, poller.Request{Since: at}, "GET /list?since=2026-01-02T03%3A04%3A05Z"},
		"window on every page":    {recipe.HTTP{Window: recipe.Window{Since: "since"}, Paging: recipe.Paging{Param: "page", Cursor: "page"}}, poller.Request{Since: at, Cursor: "2"}, "GET /list?page=2&since=2026-01-02T03%3A04%3A05Z"},
		"cursor in the path":      {recipe.HTTP{URL: "/a/{cursor}/b", Paging: recipe.Paging{In: "path", Cursor: "next"}}, poller.Request{Cursor: "x/../?y#%"}, "GET /a/x%2F..%2F%3Fy%23%25/b"},
		"no cursor in the path":   {recipe.HTTP{URL: "/a/{cursor}/b", Paging: recipe.Paging{In: "path", Cursor: "next"}}, poller.Request{}, "GET /a/b"},
		"first page in the path":  {recipe.HTTP{URL: "/a/{cursor}", Paging: recipe.Paging{In: "path", Cursor: "page"}}, poller.Request{}, "GET /a/1"},
		"steps in the path":       {recipe.HTTP{URL: "/a/{cursor}", Paging: recipe.Paging{In: "path", Cursor: "next"}}, poller.Request{Cursor: ".."}, "can't stand in an address"},
		"a page that is none":     {recipe.HTTP{Paging: recipe.Paging{Param: "page", Cursor: "page"}}, poller.Request{Cursor: "x"}, "is no number"},
		"control characters":      {recipe.HTTP{Paging: recipe.Paging{Param: "X-C", In: "header", Cursor: "next"}}, poller.Request{Cursor: "a\r\nX: y"}, "control characters"},
		"no address":              {recipe.HTTP{Paging: recipe.Paging{In: "url", Cursor: "next"}}, poller.Request{Cursor: "https://x"}, "no address of a page"},
		"an address of its own":   {recipe.HTTP{Paging: recipe.Paging{In: "url", Cursor: "next"}}, poller.Request{Cursor: "//other.example/x?y=1"}, "GET //other.example/x?y=1"},
		"a value where one hides": {recipe.HTTP{Query: map[string]string{"key": "{name}"}, Paging: recipe.Paging{In: "url", Cursor: "next"}}, poller.Request{Cursor: "/x?key={}&z=1"}, "GET /x?key=a%22b%26c&z=1"},
	} {
		e := newEcho(t, `{"data":[]}`)
		r := test.recipe
		if r.URL == "" {
			r.URL = "/list"
		}
		r.URL, r.Items = e.URL+r.URL, "data"
		if r.Position == "" {
			r.Position, r.Time = "time_window", "t"
		}
		if r.Position == "time_window" && r.Window.Since == "" {
			r.Window.Since = "since"
		}
		if r.Position == "tail_cursor" && r.Paging.Cursor == "" {
			r.Paging = recipe.Paging{Param: "cursor", Cursor: "next"}
		}
		h, err := New(r, secrets(values), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = h.Fetch(t.Context(), test.request)
		if err != nil {
			if fetchError(t, err); !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v; want %s", name, err, test.want)
			}
			continue
		}
		if got := e.asked[0]; got != test.want {
			t.Errorf("%s: asked %s; want %s", name, got, test.want)
		}
		if sent := e.last.Header.Get("Content-Type"); (r.Method == "POST") != (sent == "application/json") {
			t.Errorf("%s: content type %q", name, sent)
		}
	}
}

// The window's ends stand in the headers of each page, whatever its address.
func TestAWindowInHeaders(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	for cursor, paging := range map[string]recipe.Paging{
		"":        {Param: "page", Cursor: "page"},
		"2":       {Param: "page", Cursor: "page"},
		"/list?2": {In: "url", Cursor: "link"},
	} {
		e := newEcho(t, `[]`)
		window := recipe.Window{In: "header", Since: "if-modified-since", Until: "X-Before", Layout: http.TimeFormat}
		h, err := New(recipe.HTTP{URL: e.URL + "/list", Position: "time_window", Time: "at", Window: window, Paging: paging}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor, Since: at, Until: at}); err != nil {
			t.Fatal(err)
		}
		since, until := e.last.Header.Get("If-Modified-Since"), e.last.Header.Get("X-Before")
		if since != "Fri, 02 Jan 2026 03:04:05 GMT" || until != "Fri, 02 Jan 2026 03:04:06 GMT" {
			t.Errorf("page %q was asked for from %q to %q", cursor, since, until)
		}
	}
}

func TestAddressesOfNextPages(t *testing.T) {
	var seen int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen++ }))
	defer other.Close()
	e := newEcho(t, "")
	base, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	const key = "k-9f8e/7+d"
	for next, want := range map[string]string{
		"?page=2":                                  "GET /a/list?page=2",
		"more?page=2":                              "GET /a/more?page=2",
		"/x/y%2Fz?page=2#part":                     "GET /x/y%2Fz?page=2",
		e.URL + "/a/list?page=2":                   "GET /a/list?page=2",
		e.URL + "//twice/x":                        "GET //twice/x",
		e.URL:                                      "GET /",
		"//" + base.Host + "/p?q=%22":              "GET /p?q=%22",
		"http://user:pw@" + base.Host + "/p":       "GET /p",
		"/p?api_key=" + url.QueryEscape(key):       "GET /p?api_key=" + url.QueryEscape(key),
		"/p?a=1&api_key=k-9f8e/7%2Bd&b={}":         "GET /p?a=1&api_key=" + url.QueryEscape(key) + "&b={}",
		"/p?api_key=another":                       "GET /p?api_key=another",
		other.URL + "/p":                           "another origin",
		"https://" + base.Host + "/p":              "another origin",
		"http://" + base.Hostname() + ":1/p":       "another origin",
		"//evil.example/p":                         "another origin",
		"javascript:alert(1)":                      "no address",
		"http://[::1/p":                            "no address",
		"/p?" + strings.Repeat("x", maxCursor+1):   "more than",
		"/p?" + strings.Repeat("x", maxCursor-100): "GET /p?" + strings.Repeat("x", maxCursor-100),
	} {
		for _, by := range []string{"link", "body"} {
			e.asked, e.header = nil, http.Header{}
			r := recipe.HTTP{
				URL: e.URL + "/a/list", Query: map[string]string{"api_key": "{key}", "size": "10"}, Items: "data", ID: "id", Position: "head_walk",
				Paging: recipe.Paging{In: "url", Cursor: "next"},
			}
			if by == "link" {
				r.Paging.Cursor = "link"
				e.header.Set("Link", "<"+next+`>; rel=next`)
			}
			e.body = func(*http.Request) string { return fmt.Sprintf(`{"data":[{"id":"a"}],"next":%q}`, next) }
			h, err := New(r, secrets(map[string]string{"key": key}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			page, err := h.Fetch(t.Context(), poller.Request{})
			if err == nil {
				if strings.Contains(page.Next, "k-9f8e") {
					t.Errorf("%s: the key is in the cursor %s", next, page.Next)
				}
				_, err = h.Fetch(t.Context(), poller.Request{Cursor: page.Next})
			}
			if err != nil && !strings.Contains(err.Error(), "this one again") { // the echo says the same to each
				if fetchError(t, err); !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), key) {
					t.Errorf("%.80s by %s: %v; want %s", next, by, err, want)
				}
				continue
			}
			if got := e.asked[len(e.asked)-1]; got != want {
				t.Errorf("%.80s by %s: asked %.200s; want %.200s", next, by, got, want)
			}
		}
	}
	if seen > 0 {
		t.Errorf("another origin was asked %d times", seen)
	}
}

func TestARequestIsNotTurnedIntoAnother(t *testing.T) {
	for status, ok := range map[int]bool{301: false, 302: false, 303: false, 307: true, 308: true} {
		var got []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = append(got, r.Method+" "+r.URL.Path+" "+string(body))
			if r.URL.Path == "/list" {
				http.Redirect(w, r, "/moved", status)
				return
			}
			io.WriteString(w, `[]`)
		}))
		h, err := New(recipe.HTTP{URL: server.URL + "/list", Method: "POST", Body: `{{"a":1}}`, Position: "head_walk"}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Fetch(t.Context(), poller.Request{})
		if ok && (err != nil || got[1] != `POST /moved {"a":1}`) || !ok && (err == nil || len(got) != 1) {
			t.Errorf("%d: %v, %v", status, got, err)
		}
		server.Close()
	}
}

func TestLinkHeaders(t *testing.T) {
	for text, want := range map[string]string{
		``:                                      "",
		`<https://a/?x=1,2;3>; rel="next"`:      "https://a/?x=1,2;3",
		`</p>;rel=next`:                         "/p",
		`</p> ; REL = "Next"`:                   "/p",
		`</a>; rel=prev, </b>; rel="last next"`: "/b",
		`</a>; title="; rel=next, <x>", </b>; rel=next`: "/b",
		`</a>; title="\"; rel=next"; rel=prev`:          "",
		`</a>; rel=prev; rel=next`:                      "",
		`</a>; rel=next; anchor="/other"`:               "",
		`</a>; anchor="#x"; rel=next, </b>; rel=next`:   "/b",
		`</a>; rel=nextish`:                             "",
		`</a; rel=next`:                                 "",
		`a>; rel=next`:                                  "",
		`</a>; rel="next`:                               "/a",
		`</a>; rel`:                                     "",
		`</a>;;; rel=next ;`:                            "/a",
		`<>; rel=next`:                                  "",
		`</a>, </b>; rel=next`:                          "/b",
	} {
		if got := nextLink(http.Header{"Link": {text}}); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := nextLink(http.Header{"Link": {`</a>; rel=prev`, `</b>; rel=next`}}); got != "/b" {
		t.Errorf("two headers: %q", got)
	}
}

func FuzzLinkHeader(f *testing.F) {
	f.Add(`<https://a/?x=1,2;3>; rel="next", </b>; rel=last; title="\""`)
	f.Add(`<<>>;;,,="rel=next`)
	f.Fuzz(func(t *testing.T, text string) {
		if next := nextLink(http.Header{"Link": {text}}); next != "" && !strings.Contains(text, next) {
			t.Errorf("%q is not in %q", next, text)
		}
	})
}

// FuzzAddresses makes cursors of whatever an API gives for an address: what is asked with them is of our origin.
func FuzzAddresses(f *testing.F) {
	for _, seed := range []string{"/a?b=c", "//evil/x", "https://api.example.com/x?key={}", "?key=s3cr3t", "\\\\evil", "https://api.example.com@evil/", "/%2e%2e/%zz", "..//x"} {
		f.Add(seed)
	}
	h, err := New(recipe.HTTP{
		URL: "https://api.example.com/list", Query: map[string]string{"key": "{key}"}, Position: "head_walk", Paging: recipe.Paging{In: "url", Cursor: "link"},
	}, secrets(map[string]string{"key": "s3cr3t"}), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		find := h.fill(&h.events, poller.Request{}, "")
		cursor, err := h.keep(&h.events, h.url, next, find)
		if err != nil {
			return
		}
		u, err := h.resume(&h.events, cursor, find)
		if err != nil {
			t.Fatalf("%q became %q: %v", next, cursor, err)
		}
		if again, err := url.Parse(u.String()); err != nil || recipe.Origin(again) != h.origin || again.User != nil {
			t.Fatalf("%q became %q: %s, %v", next, cursor, u, err)
		}
	})
}
