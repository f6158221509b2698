package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// api is a Flatpeak-like API whose parts a test replaces.
type api struct {
	*httptest.Server
	login  http.HandlerFunc
	events http.HandlerFunc
	logins atomic.Int64

	mu       sync.Mutex
	requests []*http.Request
}

const emptyPage = `{"object":"list","has_more":false,"data":[]}`

// newAPI starts an API that gives the token token-1, then token-2 and so on, and lists nothing.
func newAPI(t testing.TB) *api {
	a := &api{}
	a.login = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"bearer_token":"token-%d","expires_in":3600,"live_mode":false}`, a.logins.Load())
	}
	a.events = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, emptyPage) }
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		a.logins.Add(1)
		a.note(r)
		a.login(w, r)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) { a.note(r); a.events(w, r) })
	mux.HandleFunc("/events/", func(w http.ResponseWriter, r *http.Request) { a.note(r); a.events(w, r) })
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *api) note(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, r.Clone(context.Background()))
}

// asked returns the requests for the list and for single events, so far.
func (a *api) asked() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.requests), func(r *http.Request) bool { return r.URL.Path == "/login" })
}

const apiKey = "sk_test_0123456789/+=\"<key>"

func (a *api) values() map[string]event.Secret { return account(a.URL) }

func account(baseURL string) map[string]event.Secret {
	return map[string]event.Secret{
		"base_url": event.NewSecret(baseURL), "account_id": event.NewSecret("acc_1"), "api_key": event.NewSecret(apiKey),
	}
}

// source makes a fetcher for the API with the flatpeak preset.
func (a *api) source(t testing.TB, o Options) *HTTP {
	t.Helper()
	if o.Transport == nil {
		o.Transport = a.Client().Transport
	}
	return newSource(t, a.values(), o)
}

func newSource(t testing.TB, values map[string]event.Secret, o Options) *HTTP {
	t.Helper()
	preset, err := recipe.Find("flatpeak")
	if err != nil {
		t.Fatal(err)
	}
	o.Source = "fp"
	h, err := New(preset.HTTP, values, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func fetchError(t testing.TB, err error) *poller.FetchError {
	t.Helper()
	fe, ok := errors.AsType[*poller.FetchError](err)
	if !ok {
		t.Fatalf("got %T %v, want a *poller.FetchError", err, err)
	}
	return fe
}

func TestRequestsSayWhatTheRecipeSays(t *testing.T) {
	a := newAPI(t)
	preset, err := recipe.Find("flatpeak")
	if err != nil {
		t.Fatal(err)
	}
	values := a.values()
	values["base_url"] = event.NewSecret(a.URL + "/")
	values["object_id"] = event.NewSecret("loc 1&x=y")
	values["version"] = event.NewSecret("2025-09-14.anode")
	values["event_type"] = event.NewSecret("")
	preset.HTTP.Query["zone"], values["query:zone"] = "{query:zone}", event.NewSecret("é/1")
	h, err := New(preset.HTTP, values, Options{UserAgent: "tidings/1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Fetch(t.Context(), poller.Request{Cursor: "evt/1&limit=1"}); err != nil {
		t.Fatal(err)
	}
	login := a.requests[0]
	if user, password, ok := login.BasicAuth(); login.Method != "GET" || !ok || user != "acc_1" || password != apiKey {
		t.Errorf("login: %s, user %q, password %q", login.Method, user, password)
	}
	list := a.requests[1]
	if list.URL.Path != "/events" {
		t.Errorf("path %q", list.URL.Path)
	}
	if got := list.URL.Query().Encode(); got != "limit=100&object_id=loc+1%26x%3Dy&starting_after=evt%2F1%26limit%3D1&zone=%C3%A9%2F1" {
		t.Errorf("query %s", got)
	}
	for key, want := range map[string]string{
		"Authorization": "Bearer token-1", "Flatpeak-Version": "2025-09-14.anode", "User-Agent": "tidings/1", "Accept": "application/json",
	} {
		if got := list.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if login.Header.Get("Flatpeak-Version") == "" || login.Header.Get("User-Agent") != "tidings/1" {
		t.Error("the login lacks the recipe's headers")
	}
}

func TestStaticCredentials(t *testing.T) {
	a := newAPI(t)
	key := map[string]event.Secret{"env:K": event.NewSecret("k-123")}
	for name, test := range map[string]struct {
		auth        recipe.Auth
		header, got string
	}{
		"bearer": {recipe.Auth{Bearer: "{env:K}"}, "Authorization", "Bearer k-123"},
		"basic":  {recipe.Auth{Basic: &recipe.Basic{User: "{env:K}"}}, "Authorization", "Basic " + basic("k-123", "")},
		"header": {recipe.Auth{Header: &recipe.Header{Name: "x-api-key", Value: "v1 {env:K}"}}, "X-Api-Key", "v1 k-123"},
		"none":   {recipe.Auth{}, "Authorization", ""},
	} {
		h, err := New(recipe.HTTP{URL: a.URL + "/events?fixed=1", Items: "data", Position: "head_walk", Auth: test.auth}, key, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil {
			t.Fatal(err)
		}
		r := a.asked()[len(a.asked())-1]
		if got := r.Header.Get(test.header); got != test.got || r.URL.RawQuery != "fixed=1" {
			t.Errorf("%s: %q, query %q", name, got, r.URL.RawQuery)
		}
	}
	a.events = func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }
	h, err := New(recipe.HTTP{URL: a.URL + "/events", Position: "head_walk", Auth: recipe.Auth{Bearer: "{env:K}"}}, key, Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := len(a.asked())
	_, err = h.Fetch(t.Context(), poller.Request{})
	if fetchError(t, err).Health != event.SourceRefused || len(a.asked()) != before+1 {
		t.Errorf("got %v after %d requests", err, len(a.asked())-before)
	}
}

func TestNewRefuses(t *testing.T) {
	preset, err := recipe.Find("flatpeak")
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"base_url": "https://api.example.com", "account_id": "acc", "api_key": "key-secret"}
	for name, test := range map[string]struct {
		key, value, want string
		change           func(*recipe.HTTP)
	}{
		"no value":      {key: "api_key", want: "{api_key}"},
		"no address":    {key: "base_url", value: "api.example.com", want: "url"},
		"other scheme":  {key: "base_url", value: "ftp://api.example.com", want: "url"},
		"line break":    {key: "api_key", value: "key-secret\n", want: "line break"},
		"header break":  {key: "version", value: "1\r\nX: y", want: "headers.Flatpeak-Version"},
		"colon in user": {key: "account_id", value: "a:b", want: "colon"},
		"other login":   {change: func(h *recipe.HTTP) { h.Auth.Login.URL = "https://login.example.com/" }, want: "auth.login.url"},
		"other fetch":   {change: func(h *recipe.HTTP) { h.FetchOne = "http://api.example.com/{id}" }, want: "fetch_one"},
		"unsound":       {change: func(h *recipe.HTTP) { h.Position = "" }, want: "position is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[string]event.Secret{}
			for k, v := range good {
				values[k] = event.NewSecret(v)
			}
			if test.key != "" {
				values[test.key] = event.NewSecret(test.value)
			}
			h := preset.HTTP
			login := *h.Auth.Login
			h.Auth.Login = &login
			if test.change != nil {
				test.change(&h)
			}
			_, err := New(h, values, Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "key-secret") {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

// A coding that nobody asked for is told, not the gibberish that it makes.
func TestAnswersInAnotherCoding(t *testing.T) {
	e := newEcho(t, "\x0b\x02\x80abc")
	e.header.Set("Content-Encoding", "br")
	h, err := New(recipe.HTTP{URL: e.URL, Position: "head_walk"}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Fetch(t.Context(), poller.Request{}); err == nil || !strings.Contains(err.Error(), "encoded as br") {
		t.Errorf("%v", err)
	}
	e.header = http.Header{"X-Long": {strings.Repeat("x", maxHeaders)}}
	if _, err := h.Fetch(t.Context(), poller.Request{}); err == nil || !strings.Contains(err.Error(), "headers are longer than the 256 KiB") {
		t.Errorf("%v", err)
	}
}

func TestRedirects(t *testing.T) {
	var seen atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }))
	defer other.Close()
	for _, from := range []string{"events", "login"} {
		a := newAPI(t)
		to := func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/x?k="+r.Header.Get("Authorization"), http.StatusTemporaryRedirect)
		}
		if from == "events" {
			a.events = to
		} else {
			a.login = to
		}
		_, err := a.source(t, Options{}).Fetch(t.Context(), poller.Request{})
		if fetchError(t, err).Health != event.SourceFailing || !strings.Contains(err.Error(), other.URL) || strings.Contains(err.Error(), "token-1") {
			t.Errorf("%s: %v", from, err)
		}
	}
	if seen.Load() != 0 {
		t.Errorf("the other origin was asked %d times", seen.Load())
	}

	a := newAPI(t)
	a.events = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			http.Redirect(w, r, "/events/", http.StatusPermanentRedirect)
			return
		}
		if r.Header.Get("Authorization") != "Bearer token-1" {
			t.Error("a redirect within the origin lost the credentials")
		}
		io.WriteString(w, emptyPage)
	}
	if _, err := a.source(t, Options{}).Fetch(t.Context(), poller.Request{}); err != nil {
		t.Error(err)
	}
	a.events = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/events", http.StatusFound) }
	before := len(a.asked())
	_, err := a.source(t, Options{}).Fetch(t.Context(), poller.Request{})
	if n := len(a.asked()) - before; err == nil || !strings.Contains(err.Error(), "5 times") || n != maxRedirects+1 {
		t.Errorf("a circle of redirects: %v after %d requests", err, n)
	}
}

func TestFetchOne(t *testing.T) {
	a := newAPI(t)
	a.events = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() == "/events/evt%2F1%3Fx" {
			io.WriteString(w, " {\"id\":\"evt/1?x\", \"type\":\"a.b\"}\n")
			return
		}
		if r.URL.Path == "/events/swapped" {
			io.WriteString(w, `{"id":"evt_9"}`)
			return
		}
		http.NotFound(w, r)
	}
	h := a.source(t, Options{})
	e, err := h.FetchOne(t.Context(), "evt/1?x")
	if err != nil || e.ID != "evt/1?x" || e.Type != "a.b" || e.Source != "fp" || string(e.Data) != `{"id":"evt/1?x", "type":"a.b"}` {
		t.Errorf("got %+v, %v", e, err)
	}
	for id, want := range map[string]string{"gone": "404", "..": "can't be asked for", "": "can't be asked for", "swapped": "another event"} {
		if _, err := h.FetchOne(t.Context(), id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FetchOne(%q): %v", id, err)
		}
	}
}

func TestCancelAndTimeoutEndPromptly(t *testing.T) {
	a := newAPI(t)
	release := make(chan struct{})
	defer close(release)
	arrived := make(chan struct{}, 8)
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	a.events = hang
	h := a.source(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := h.Fetch(ctx, poller.Request{}); done <- err }()
	<-arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	_, err := a.source(t, Options{Timeout: 50 * time.Millisecond}).Fetch(t.Context(), poller.Request{})
	if fetchError(t, err).Health != event.SourceFailing || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("timeout: %v", err)
	}
	a.login = hang
	_, err = a.source(t, Options{LoginTimeout: 50 * time.Millisecond}).Fetch(t.Context(), poller.Request{})
	if err == nil || !strings.Contains(err.Error(), "/login") || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("login timeout: %v", err)
	}

	a.login = hang
	h = a.source(t, Options{})
	first, stop := context.WithCancel(t.Context())
	for len(arrived) > 0 { // those of the requests above
		<-arrived
	}
	go func() { _, err := h.Fetch(first, poller.Request{}); done <- err }()
	<-arrived
	second, cancel := context.WithCancel(t.Context())
	go func() { _, err := h.Fetch(second, poller.Request{}); done <- err }()
	cancel() // waits for the first one's login, and need not
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a login: %v", err)
	}
	stop()
	<-done
}
