package sources

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// answers are a transport that gives one answer after another, the last one for ever, and notes when it was asked.
type answers struct {
	status []int
	header http.Header
	at     []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status := a.status[min(len(a.at), len(a.status)-1)]
	a.at = append(a.at, time.Now())
	header := a.header.Clone()
	if len(a.at) > len(a.status) || header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("[]")), ContentLength: -1, Request: r}, nil
}

func shared(t *testing.T, origin, key string, l recipe.Limits, o Options) *HTTP {
	t.Helper()
	h, err := New(recipe.HTTP{
		URL: origin + "/events", Position: recipe.HeadWalk, Auth: recipe.Auth{Bearer: "{key}"}, Limits: l,
	}, map[string]event.Secret{"key": event.NewSecret(key)}, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSourcesWithOneCredentialShareARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &answers{status: []int{200}}
		o := Options{Transport: api, Budgets: new(Budgets)}
		limits := recipe.Limits{Rate: 2, Burst: 3}
		one, two := shared(t, "https://a", "key-1", limits, o), shared(t, "https://A:443", "key-1", recipe.Limits{Rate: 100, Burst: 9}, o)
		other, elsewhere := shared(t, "https://a", "key-2", limits, o), shared(t, "https://b", "key-1", limits, o)
		start := time.Now()
		for _, step := range []struct {
			h  *HTTP
			at time.Duration
		}{{one, 0}, {two, 0}, {one, 0}, {two, 500 * time.Millisecond}, {other, 500 * time.Millisecond}, {elsewhere, 500 * time.Millisecond}, {one, time.Second}, {two, 1500 * time.Millisecond}} {
			if _, err := step.h.Fetch(t.Context(), poller.Request{}); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != step.at {
				t.Errorf("asked after %s, want %s", got, step.at)
			}
		}
		time.Sleep(time.Hour) // no more than the burst is saved
		start, api.at = time.Now(), nil
		for range 5 {
			if _, err := one.Fetch(t.Context(), poller.Request{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := api.at[4].Sub(start); got != time.Second {
			t.Errorf("five requests took %s", got)
		}
	})
}

func TestALimitHoldsAllWhoShareIt(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header http.Header
		held   time.Duration
	}{
		"429":              {429, http.Header{"Retry-After": {"90"}}, 90 * time.Second},
		"429 for how long": {429, http.Header{}, shortHold},
		"none remains":     {200, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"90"}}, 90 * time.Second},
		"some remain":      {200, http.Header{"X-Ratelimit-Remaining": {"1"}, "X-Ratelimit-Reset": {"90"}}, 0},
		"another failure":  {500, http.Header{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &answers{status: []int{test.status, 200}, header: test.header}
				o := Options{Transport: api, Budgets: new(Budgets)}
				one, two, other := shared(t, "https://a", "key-1", recipe.Limits{}, o), shared(t, "https://a", "key-1", recipe.Limits{}, o), shared(t, "https://a", "key-2", recipe.Limits{}, o)
				_, _ = one.Fetch(t.Context(), poller.Request{})
				api.header = nil
				start := time.Now()
				if _, err := other.Fetch(t.Context(), poller.Request{}); err != nil || time.Since(start) > 0 {
					t.Errorf("another credential waited %s: %v", time.Since(start), err)
				}
				_, err := two.Fetch(t.Context(), poller.Request{})
				if test.held > maxHold {
					fe := fetchError(t, err)
					if fe.Health != event.SourceLimited || fe.After != test.held || len(api.at) != 2 || strings.Contains(err.Error(), "key-1") {
						t.Errorf("after %d requests: %s %s %v", len(api.at), fe.Health, fe.After, err)
					}
					time.Sleep(fe.After)
					_, err = two.Fetch(t.Context(), poller.Request{})
				}
				if err != nil || time.Since(start) != test.held {
					t.Errorf("held for %s: %v; want %s", time.Since(start), err, test.held)
				}
			})
		})
	}
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := shared(t, "https://a", "k", recipe.Limits{Rate: 0.02}, Options{Transport: &answers{status: []int{200}}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := h.Fetch(ctx, poller.Request{}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := h.Fetch(ctx, poller.Request{}); err == nil || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}
