package sources

import (
	"fmt"
	"io"
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

// TestNothingElseLeaksASecret lets an API quote the key in all that a recipe may go on with: bodies, addresses, values, cursors.
func TestNothingElseLeaksASecret(t *testing.T) {
	const key = `k"9/8&7+é`
	shown := []string{key, url.QueryEscape(key), url.PathEscape(key), `k\"9`, "9/8&7", "9%2F8%267"}
	for _, status := range []int{200, 400, 500} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.URL.Path == "/list" && r.URL.Query().Get("again") == "" {
				fmt.Fprintf(w, `{"data":[{"id":"a","v":"x"}],"next":"/list?again=1&key=%s"}`, url.QueryEscape(r.URL.Query().Get("key")))
				return
			}
			w.Header().Set("Retry-After", key)
			w.Header().Set("X-RateLimit-Reset", key)
			w.WriteHeader(status)
			fmt.Fprintf(w, `you sent %s %s`, body, r.URL.Query().Get("key"))
		}))
		defer server.Close()
		u := server.URL
		base := recipe.HTTP{
			URL: u + "/list", Method: "POST", Body: `{{"key":{key}}}`, Query: map[string]string{"key": "{key}"}, Items: "data", ID: "id", Time: "t", Position: "tail_cursor",
			Paging: recipe.Paging{In: "url", Cursor: "next"},
		}
		ack, seek, each := base, base, base
		ack.Position, ack.Ack = "ack", recipe.Ack{URL: u + "/ack?key={key}", Body: `{{"key":{key},"ids":{ids}}}`}
		seek.Seek = recipe.Seek{URL: u + "/seek?key={key}", Body: `{{"key":{key},"at":{start}}}`, Cursor: "next"}
		each.Position, each.Window.Since = "time_window", "since"
		each.Query = map[string]string{"key": "{key}", "v": "{v}"}
		each.ForEach = &recipe.ForEach{URL: u + "/values", Query: map[string]string{"key": "{key}"}, Value: "v", As: "v"}
		for name, ask := range map[string]func() (string, error){
			"next": func() (string, error) {
				h := keyed(t, base, key)
				page, err := h.Fetch(t.Context(), poller.Request{})
				if err != nil {
					t.Fatal(err)
				}
				_, err = h.Fetch(t.Context(), poller.Request{Cursor: page.Next})
				return page.Next, err
			},
			"ack":  func() (string, error) { return "", keyed(t, ack, key).Ack(t.Context(), "c", []event.Event{{ID: "a"}}) },
			"seek": func() (string, error) { return keyed(t, seek, key).Seek(t.Context(), time.Now()) },
			"each": func() (string, error) {
				page, err := keyed(t, each, key).Fetch(t.Context(), poller.Request{})
				return page.Next, err
			},
		} {
			cursor, err := ask()
			if err == nil && (name != "ack" || status != 200) {
				t.Errorf("%s, %d: no error", name, status)
			}
			for _, form := range shown {
				if strings.Contains(fmt.Sprint(err, cursor), form) {
					t.Errorf("%s, %d: %q in %v, cursor %s", name, status, form, err, cursor)
				}
			}
		}
	}
}

func keyed(t *testing.T, r recipe.HTTP, key string) *HTTP {
	t.Helper()
	h, err := New(r, secrets(map[string]string{"key": key}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
