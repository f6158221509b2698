package sources

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

func TestOneLoginForAll(t *testing.T) {
	a := newAPI(t)
	h := a.source(t, Options{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := a.logins.Load(); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// roundTrip answers requests without a network, so that time can be a test's own.
type roundTrip func(*http.Request) string

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f(r))), ContentLength: -1, Request: r}, nil
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	for name, test := range map[string]struct {
		life          string
		after         time.Duration
		before, later int // logins up to just before and just after
	}{
		"number":     {"3600", 48 * time.Minute, 1, 2},
		"text":       {`"600"`, 8 * time.Minute, 1, 2},
		"none":       {"null", 1000 * time.Hour, 1, 1},
		"no number":  {`"soon"`, 1000 * time.Hour, 1, 1},
		"negative":   {"-5", 1000 * time.Hour, 1, 1},
		"NaN":        {`"NaN"`, 1000 * time.Hour, 1, 1},
		"absurd":     {"1e300", 1000 * time.Hour, 1, 1},
		"very short": {"1", 800 * time.Millisecond, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logins := 0
				h := newSource(t, account("https://api.example.com"), Options{Transport: roundTrip(func(r *http.Request) string {
					if r.URL.Path == "/login" {
						logins++
						return fmt.Sprintf(`{"bearer_token":"token-%d","expires_in":%s}`, logins, test.life)
					}
					if want := fmt.Sprintf("Bearer token-%d", logins); r.Header.Get("Authorization") != want {
						t.Errorf("got %q, want %q", r.Header.Get("Authorization"), want)
					}
					return emptyPage
				})})
				for _, step := range []struct {
					wait time.Duration
					want int
				}{{0, 1}, {test.after - time.Millisecond, test.before}, {2 * time.Millisecond, test.later}} {
					time.Sleep(step.wait)
					if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil {
						t.Fatal(err)
					}
					if logins != step.want {
						t.Fatalf("%d logins, want %d", logins, step.want)
					}
				}
			})
		})
	}
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	a := newAPI(t)
	h := a.source(t, Options{})
	a.events = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer token-1" {
			w.WriteHeader(401)
			return
		}
		io.WriteString(w, emptyPage)
	}
	if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil || a.logins.Load() != 2 || len(a.asked()) != 2 {
		t.Errorf("%v after %d logins and %d requests", err, a.logins.Load(), len(a.asked()))
	}
	if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil || a.logins.Load() != 2 {
		t.Errorf("%v after %d logins: the new token was not kept", err, a.logins.Load())
	}

	a.events = func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }
	_, err := h.Fetch(t.Context(), poller.Request{})
	if fetchError(t, err).Health != event.SourceRefused || a.logins.Load() != 3 || len(a.asked()) != 5 {
		t.Errorf("%v after %d logins and %d requests", err, a.logins.Load(), len(a.asked()))
	}
}

func TestLoginThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header string
		body   string
		health event.SourceHealth
		after  time.Duration
		want   string
	}{
		"401":          {401, "", `{"message":"no"}`, event.SourceRefused, 0, "401 Unauthorized"},
		"403":          {403, "", "", event.SourceRefused, 0, "403 Forbidden"},
		"disabled":     {422, "", `{"code":"account_disabled"}`, event.SourceRefused, 0, "account_disabled"},
		"429":          {429, "7", "", event.SourceLimited, 7 * time.Second, "429"},
		"500":          {500, "7", "", event.SourceFailing, 7 * time.Second, "500"},
		"html":         {200, "", "<html>eyJhidden", event.SourceFailing, 0, "HTML"},
		"no token":     {200, "", `{"bearer_token":null,"access":"eyJhidden"}`, event.SourceFailing, 0, "no token at bearer_token"},
		"broken token": {200, "", `{"bearer_token":"a\nb"}`, event.SourceFailing, 0, "no token at bearer_token"},
		"no JSON":      {200, "", `{"bearer_token":"eyJhidden`, event.SourceFailing, 0, "not valid JSON"},
		"too long":     {200, "", strings.Repeat(" ", maxLoginBody+1), event.SourceFailing, 0, "1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.login = func(w http.ResponseWriter, r *http.Request) {
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}
			_, err := a.source(t, Options{}).Fetch(t.Context(), poller.Request{})
			fe := fetchError(t, err)
			if fe.Health != test.health || fe.After != test.after || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), "GET "+a.URL+"/login") {
				t.Errorf("got %s %s %v", fe.Health, fe.After, err)
			}
			if strings.Contains(err.Error(), "eyJhidden") {
				t.Errorf("a token is in %v", err)
			}
			if len(a.asked()) != 0 {
				t.Error("the list was asked without a token")
			}
		})
	}
}

func TestFetchEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		h, err := New(recipe.HTTP{
			URL: "https://api.example.com", Position: "head_walk", Paging: recipe.Paging{Limit: "n", Size: 10_000},
		}, nil, Options{MaxBody: 10, Transport: roundTrip(func(r *http.Request) string {
			asked++
			time.Sleep(29 * time.Second)
			return strings.Repeat(" ", 11)
		})})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = h.Fetch(t.Context(), poller.Request{})
		if took := time.Since(start); err == nil || took > 6*time.Minute || asked < 5 {
			t.Errorf("%v after %s and %d requests", err, took, asked)
		}
	})
}
