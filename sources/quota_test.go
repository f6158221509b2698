package sources

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

const served = "Wed, 21 Oct 2026 07:28:00 GMT" // 1792567680

func TestWhatAPIsSayAboutRateLimits(t *testing.T) {
	at, err := http.ParseTime(served)
	if err != nil {
		t.Fatal(err)
	}
	in := func(seconds int64) string { return fmt.Sprint(at.Unix() + seconds) }
	for _, test := range []struct {
		limits  recipe.Limits
		headers map[string]string
		wait    time.Duration // of a page
		after   time.Duration // of an answer 429
	}{
		{recipe.Limits{}, map[string]string{}, 0, 0},
		// GitHub, Intercom: a time since 1970. Others: seconds to go, or milliseconds since 1970.
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in(90)}, 90 * time.Second, 90 * time.Second},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": in(90)}, 0, 0},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Reset": in(90)}, 0, 90 * time.Second},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 30 * time.Second, 30 * time.Second},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in(90) + "500"}, 90500 * time.Millisecond, 90500 * time.Millisecond},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in(-90)}, 0, 0},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": in(99999999)}, maxReset, maxReset},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "Wed, 21 Oct 2026 07:29:00 GMT"}, time.Minute, time.Minute},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2026-10-21T07:29:00Z"}, time.Minute, time.Minute},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1e300"}, maxReset, maxReset},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "NaN"}, 0, 0},
		{recipe.Limits{}, map[string]string{"X-RateLimit-Remaining": "none", "X-RateLimit-Reset": "-1"}, 0, 0},
		{recipe.Limits{}, map[string]string{"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": in(60)}, time.Minute, time.Minute}, // Okta
		// The three headers of the earlier drafts: seconds.
		{recipe.Limits{}, map[string]string{"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "7"}, 7 * time.Second, 7 * time.Second},
		{recipe.Limits{}, map[string]string{"RateLimit-Remaining": "1", "RateLimit-Reset": "7"}, 0, 0},
		// Draft 07, and the structured fields of the later ones.
		{recipe.Limits{}, map[string]string{"RateLimit": "limit=100, remaining=0, reset=5"}, 5 * time.Second, 5 * time.Second},
		{recipe.Limits{}, map[string]string{"RateLimit": "limit=100, remaining=50, reset=5"}, 0, 0},
		{recipe.Limits{}, map[string]string{"RateLimit": `"default";r=0;t=30`}, 30 * time.Second, 30 * time.Second},
		{recipe.Limits{}, map[string]string{"RateLimit": `"default";r=50;t=30`}, 0, 0},
		{recipe.Limits{}, map[string]string{"RateLimit": `"a, b; c";r=0;t=3, "daily" ; r=0; t=40;pk=:abc=:`}, 40 * time.Second, 40 * time.Second},
		{recipe.Limits{}, map[string]string{"RateLimit": `"burst";r=0, "daily";r=7`, "RateLimit-Policy": `"burst";q=100;w=60,"daily";q=1000;w=86400`}, time.Minute, time.Minute},
		{recipe.Limits{}, map[string]string{"RateLimit": `"x;r=0`}, 0, 0},
		{recipe.Limits{}, map[string]string{"RateLimit": `"x;r=0;t=99,\";r=0;t=99,y";r=5;t=3`}, 0, 0},
		{recipe.Limits{}, map[string]string{"RateLimit": `;;=,,"`}, 0, 0},
		// Retry-After counts first.
		{recipe.Limits{}, map[string]string{"Retry-After": "3", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 30 * time.Second, 3 * time.Second},
		// The vendor's own.
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "seconds"}, map[string]string{"X-Left": "0", "X-More": "9"}, 9 * time.Second, 9 * time.Second},
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "milliseconds"}, map[string]string{"X-Left": "0", "X-More": "9001"}, 10 * time.Second, 10 * time.Second},
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "epoch"}, map[string]string{"X-Left": "0", "X-More": in(9)}, 9 * time.Second, 9 * time.Second},
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "epoch_ms"}, map[string]string{"X-Left": "0", "X-More": in(9) + "000"}, 9 * time.Second, 9 * time.Second},
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "date"}, map[string]string{"X-Left": "0", "X-More": "Wed, 21 Oct 2026 07:29:00 GMT"}, time.Minute, time.Minute},
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "date"}, map[string]string{"X-Left": "0", "X-More": "60"}, 0, 0},
		{recipe.Limits{Remaining: "X-Left", Reset: "X-More", ResetIn: "epoch"}, map[string]string{"X-Left": "0", "X-More": "soon", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 0, 0},
		{recipe.Limits{Interval: "X-Poll-Interval"}, map[string]string{"X-Poll-Interval": "60"}, time.Minute, 0},
		{recipe.Limits{Interval: "X-Poll-Interval"}, map[string]string{"X-Poll-Interval": "99999999"}, maxReset, 0},
		{recipe.Limits{Interval: "X-Poll-Interval"}, map[string]string{"X-Poll-Interval": "-60"}, 0, 0},
		{recipe.Limits{Interval: "X-Poll-Interval"}, map[string]string{"X-Poll-Interval": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "90"}, 90 * time.Second, 90 * time.Second},
	} {
		status := 200
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", served)
			for key, value := range test.headers {
				w.Header().Set(key, value)
			}
			w.WriteHeader(status)
			fmt.Fprint(w, "[]")
		}))
		h, err := New(recipe.HTTP{URL: server.URL, Position: "head_walk", Limits: test.limits}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		page, err := h.Fetch(t.Context(), poller.Request{})
		if err != nil || page.Wait != test.wait {
			t.Errorf("%v: wait %s, %v; want %s", test.headers, page.Wait, err, test.wait)
		}
		status = 429
		h.budget = new(budget) // which heeds what the page said
		_, err = h.Fetch(t.Context(), poller.Request{})
		if fe := fetchError(t, err); fe.After != test.after || fe.Health != event.SourceLimited {
			t.Errorf("%v: after %s, %s; want %s", test.headers, fe.After, fe.Health, test.after)
		}
		server.Close()
	}
}

func TestARefusalForARateLimit(t *testing.T) {
	remaining := "0"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", remaining)
		w.Header().Set("X-RateLimit-Reset", "60")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	for _, test := range []struct {
		limits    recipe.Limits
		remaining string
		health    event.SourceHealth
	}{
		{recipe.Limits{Remaining: "X-RateLimit-Remaining", Reset: "X-RateLimit-Reset", ResetIn: "seconds"}, "0", event.SourceLimited},
		{recipe.Limits{Remaining: "X-RateLimit-Remaining", Reset: "X-RateLimit-Reset", ResetIn: "seconds"}, "1", event.SourceRefused},
		{recipe.Limits{}, "0", event.SourceRefused},
	} {
		remaining = test.remaining
		h, err := New(recipe.HTTP{URL: server.URL, Position: "head_walk", Limits: test.limits}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.Fetch(t.Context(), poller.Request{})
		if fe := fetchError(t, err); fe.Health != test.health || test.health == event.SourceLimited && fe.After != time.Minute {
			t.Errorf("%+v, %s left: %s after %s", test.limits, remaining, fe.Health, fe.After)
		}
	}
}

func FuzzRateLimitHeaders(f *testing.F) {
	f.Add(`"default";r=0;t=30`, `"default";w=60`, "0", "1792567680", "epoch")
	f.Add("limit=1, remaining=0, reset=1e99", "", "0.5", "Wed, 21 Oct 2026 07:28:00 GMT", "")
	f.Fuzz(func(t *testing.T, limit, policy, remaining, reset, unit string) {
		header := http.Header{"Ratelimit": {limit}, "Ratelimit-Policy": {policy}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "Date": {served}}
		for _, limits := range []recipe.Limits{{}, {Remaining: "X-RateLimit-Remaining", Reset: "X-RateLimit-Reset", ResetIn: unit}, {Interval: "X-RateLimit-Reset"}} {
			a := answer{header: header, limits: limits}
			if wait := a.wait(); wait < 0 || wait > maxReset {
				t.Fatalf("a wait of %s", wait)
			}
			if after := a.after(true); after < 0 || after > maxRetryAfter {
				t.Fatalf("after %s", after)
			}
		}
	})
}

func TestValidators(t *testing.T) {
	const tag, modified = `W/"a1"`, "Wed, 21 Oct 2026 07:28:00 GMT"
	for name, test := range map[string]struct {
		given map[string]string
		want  string
		sent  string
	}{
		"tag":       {map[string]string{"ETag": tag, "Last-Modified": modified}, tag, "If-None-Match"},
		"strong":    {map[string]string{"ETag": `"x y"`}, `"x y"`, "If-None-Match"},
		"time":      {map[string]string{"Last-Modified": modified}, modified, "If-Modified-Since"},
		"no tag":    {map[string]string{"ETag": `a1`, "Last-Modified": modified}, modified, "If-Modified-Since"},
		"half":      {map[string]string{"ETag": `"a1`}, "", ""},
		"two":       {map[string]string{"ETag": `"a", "b"`}, "", ""},
		"long":      {map[string]string{"ETag": `"` + string(make([]byte, 2000)) + `"`}, "", ""},
		"no time":   {map[string]string{"Last-Modified": "yesterday"}, "", ""},
		"none":      {nil, "", ""},
		"empty tag": {map[string]string{"ETag": `""`}, `""`, "If-None-Match"},
	} {
		if name == "long" {
			test.given["ETag"] = `"` + fmt.Sprintf("%02000d", 1) + `"`
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for key, value := range test.given {
				w.Header().Set(key, value)
			}
			w.Header().Set("X-Poll-Interval", "30")
			if sent := r.Header.Get(test.sent); sent != "" && sent == test.want {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			fmt.Fprint(w, `[{"id":"a"}]`)
		}))
		h, err := New(recipe.HTTP{URL: server.URL, Position: "head_walk", Limits: recipe.Limits{Validators: true, Interval: "X-Poll-Interval"}}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		page, err := h.Fetch(t.Context(), poller.Request{})
		if err != nil || page.Validator != test.want || page.NotModified || len(page.Events) != 1 {
			t.Errorf("%s: %+v, %v", name, page, err)
		}
		if test.want != "" {
			page, err = h.Fetch(t.Context(), poller.Request{Validator: page.Validator})
			if err != nil || !page.NotModified || page.Validator != test.want || len(page.Events) > 0 || page.Wait != 30*time.Second || page.Next != "" {
				t.Errorf("%s: asked with its validator: %+v, %v", name, page, err)
			}
		}
		if h, err = New(recipe.HTTP{URL: server.URL, Position: "head_walk"}, nil, Options{}); err != nil {
			t.Fatal(err)
		}
		if page, err = h.Fetch(t.Context(), poller.Request{Validator: test.want}); err != nil || page.Validator != "" || len(page.Events) != 1 {
			t.Errorf("%s: a recipe without validators: %+v, %v", name, page, err)
		}
		server.Close()
	}
}
