package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tidings/event"
)

func kindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

func TestBrowsersAreRefused(t *testing.T) {
	handler := (&Server{Store: &fakeStore{}, Version: "1.2"}).Handler()
	for _, c := range []struct {
		header, value, host string
		want                int
	}{
		{"", "", "tidings", 200},
		{"", "", "localhost", 200},
		{"", "", "localhost:8080", 200},
		{"", "", "127.0.0.1:8080", 200},
		{"", "", "[::1]:8080", 200},
		{"", "", "[::1]", 200},
		{"Origin", "http://localhost", "localhost", 400},
		{"Referer", "http://localhost/", "localhost", 400},
		{"Sec-Fetch-Site", "none", "localhost", 400},
		{"", "", "rebound.example.com", 400},
		{"", "", "rebound.example.com:80", 400},
		{"", "", "192.0.2.1", 400},
		{"", "", "", 400},
	} {
		r := httptest.NewRequest("GET", "/v1/status", nil)
		r.Host = c.host
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %s at host %q: %d, want %d", c.header, c.value, c.host, w.Code, c.want)
		}
	}
}

func TestErrorsHaveAKind(t *testing.T) {
	handler := (&Server{Store: &fakeStore{err: errors.New("reading:\n  bad page")}, Version: "1.2"}).Handler()
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/nothing", "", 404, `{"error":{"kind":"not_found","message":"tidings 1.2 does not know GET /v1/nothing on its control socket"}}`},
		{"GET", "/v1/status", "", 500, `{"error":{"kind":"failed","message":"reading the store's figures: reading: bad page"}}`},
		{"GET", "/v1/dead?after=x", "", 400, `{"error":{"kind":"invalid","message":"after=x is not the ` + "`next`" + ` of a page"}}`},
		{"POST", "/v1/dead/drop", "{}", 400, `{"error":{"kind":"invalid","message":"name dead letters by their ids, by a sink, or all of them"}}`},
		{"POST", "/v1/dead/drop", `{"all":true,"sink":"app"}`, 400, `{"error":{"kind":"invalid","message":"name dead letters by their ids, by a sink, or all of them"}}`},
		{"POST", "/v1/dead/drop", `{"al":true}`, 400, `{"error":{"kind":"invalid","message":"the request is not a selection of dead letters: json: unknown field \"al\""}}`},
		{"POST", "/v1/dead/drop", `{"ids":["` + strings.Repeat("x", maxBody) + `"]}`, 400, `{"error":{"kind":"invalid","message":"the request is longer than 4 MiB: name fewer"}}`},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Host = localHost
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || got != c.want {
			t.Errorf("%s %s: %d %s\nwant %d %s", c.method, c.path, w.Code, got, c.status, c.want)
		}
	}
	if w := httptest.NewRecorder(); true {
		r := httptest.NewRequest("GET", "/v1/dead/drop", nil)
		r.Host = localHost
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			t.Error("GET drops dead letters")
		}
	}
}

func TestDeadList(t *testing.T) {
	store := &fakeStore{}
	store.bury("b", 2*deadPage+5)
	store.bury("a", 3)
	store.bury("empty", 0)
	c := client(t, &Server{Store: store})

	var places []string
	for letter, err := range c.Dead(t.Context(), "", "", false) {
		if err != nil {
			t.Fatal(err)
		}
		if letter.Detail != nil {
			t.Fatal("a listing shows details")
		}
		places = append(places, letter.Sink+"/"+letter.ID)
	}
	if len(places) != 2*deadPage+8 || len(slices.Compact(slices.Sorted(slices.Values(places)))) != len(places) {
		t.Errorf("%d letters are listed, want %d, each once", len(places), 2*deadPage+8)
	}
	if places[0] != "a/evt_1" || places[3] != "b/evt_1" {
		t.Errorf("the order is %q", places[:4])
	}

	var found []DeadLetter
	for letter, err := range c.Dead(t.Context(), "", "evt_2", true) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, letter)
	}
	if len(found) != 2 || found[0].Sink != "a" || found[1].Sink != "b" {
		t.Fatalf("evt_2 is found as %+v", found)
	}
	one := found[0]
	if one.DeadAt.String() != "2026-03-04 04:06:07.008 +0000 UTC" || one.Time != nil || one.Attempts != 7 || one.Reason != "the sink answered 422" {
		t.Errorf("the letter is %+v", one)
	}
	if d := one.Detail; d == nil || string(d.Body) != `{"a": "<&>"}` || d.Took != 1.5 || d.Answer != "no <such> thing" {
		t.Errorf("its details are %+v", d)
	}
	for _, err := range c.Dead(t.Context(), "nowhere", "", false) {
		if kindOf(err) != NotFound {
			t.Errorf("a sink that does not exist: %v", err)
		}
	}
}

// TestDeadListOfLargeBodies: a page with details ends when its bodies are large, and the listing goes on.
func TestDeadListOfLargeBodies(t *testing.T) {
	store := &fakeStore{}
	store.bury("app", 5)
	for i := range store.dead {
		store.dead[i].Event.Data = make([]byte, deadBytes/2+1)
	}
	server := &Server{Store: store}
	r := httptest.NewRequest("GET", "/v1/dead?detail=true", nil)
	page, err := server.listDead(r)
	if err != nil {
		t.Fatal(err)
	}
	if p := page.(DeadPage); len(p.Letters) != 2 || p.Next != "app/2" {
		t.Errorf("the page has %d letters, next %q", len(p.Letters), p.Next)
	}
	n := 0
	for _, err := range client(t, server).Dead(t.Context(), "", "", true) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d letters are listed, want 5", n)
	}
}

func TestDeadChanges(t *testing.T) {
	fresh := func() (*fakeStore, *Client) {
		store := &fakeStore{}
		store.bury("app", 2*deadChange+1)
		store.bury("file", 2)
		return store, client(t, &Server{Store: store})
	}
	t.Run("dry run", func(t *testing.T) {
		store, c := fresh()
		got, err := c.DropDead(t.Context(), DeadSelection{All: true, DryRun: true})
		if err != nil || got.Count != 2*deadChange+3 || got.Sinks["file"] != 2 {
			t.Errorf("got %+v, %v", got, err)
		}
		if store.changes != 0 {
			t.Error("a dry run changed the store")
		}
	})
	t.Run("all", func(t *testing.T) {
		store, c := fresh()
		got, err := c.RetryDead(t.Context(), DeadSelection{All: true})
		if err != nil || got.Count != 2*deadChange+3 || got.Sinks["app"] != 2*deadChange+1 {
			t.Errorf("got %+v, %v", got, err)
		}
		if len(store.retried["app"]) != 2*deadChange+1 || len(store.retried["file"]) != 2 || store.dropped != nil {
			t.Error("the store was asked for something else")
		}
		if store.largest > deadChange {
			t.Errorf("a transaction has %d changes", store.largest)
		}
	})
	t.Run("a sink", func(t *testing.T) {
		store, c := fresh()
		got, err := c.DropDead(t.Context(), DeadSelection{Sink: "file"})
		if err != nil || got.Count != 2 || !slices.Equal(store.dropped["file"], []uint64{1, 2}) || len(store.dropped) != 1 || store.retried != nil {
			t.Errorf("got %+v, %v, dropped %v", got, err, store.dropped)
		}
		if _, err := c.DropDead(t.Context(), DeadSelection{Sink: "nowhere"}); kindOf(err) != NotFound {
			t.Errorf("a sink that does not exist: %v", err)
		}
	})
	t.Run("ids", func(t *testing.T) {
		store, c := fresh()
		if got, err := c.RetryDead(t.Context(), DeadSelection{IDs: []string{"evt_2", "evt_5"}}); err != nil || got.Count != 3 {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := c.RetryDead(t.Context(), DeadSelection{IDs: []string{"evt_1"}, Sink: "file"}); err != nil || got.Count != 1 || got.Sinks["file"] != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
		before := store.changes
		_, err := c.RetryDead(t.Context(), DeadSelection{IDs: []string{"evt_1", "evt_none"}})
		if kindOf(err) != NotFound || !strings.Contains(err.Error(), "evt_none") {
			t.Errorf("an unknown id: %v", err)
		}
		if store.changes != before {
			t.Error("an unknown id did not stop the change")
		}
	})
	t.Run("failing midway", func(t *testing.T) {
		store, c := fresh()
		store.failAt = 2
		_, err := c.DropDead(t.Context(), DeadSelection{All: true})
		if kindOf(err) != Failed || err.Error() != "1000 dead letters were dropped, then it failed at sink app: the disk is gone" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		store, c := fresh()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.DropDead(ctx, DeadSelection{All: true}); !errors.Is(err, context.Canceled) || store.changes != 0 {
			t.Errorf("got %v after %d changes", err, store.changes)
		}
	})
}

func TestLive(t *testing.T) {
	live := NewLive(topology())
	live.Notify(event.Attempted{Sink: "app", Outcome: event.Retry, Reason: "answered 503"})
	live.Notify(event.Attempted{Sink: "nobody", Outcome: event.Retry, Reason: "answered 503"})
	if failure, ok := live.Sink("app"); !ok || failure != "answered 503" {
		t.Errorf("got %q, %v", failure, ok)
	}
	live.Notify(event.Attempted{Sink: "app", Outcome: event.Delivered})
	if failure, ok := live.Sink("app"); !ok || failure != "" {
		t.Errorf("after a success: %q, %v", failure, ok)
	}
	live.Notify(event.PollFailed{Source: "stripe", Health: event.SourceLimited})
	if got, ok := live.Source("stripe"); !ok || got.Health != event.SourceLimited {
		t.Errorf("got %+v", got)
	}
	_, source := live.Source("nobody")
	_, sink := live.Sink("nobody")
	if source || sink {
		t.Error("a name that is not in the topology was taken in")
	}
}
