package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reach returns a caller that is let in, and the paths of the API's lists.
func reach(t *testing.T, api API) (c *caller, paths []string) {
	t.Helper()
	switch a := api.(type) {
	case *Flatpeak:
		return newCaller(t, a, "Authorization", "Bearer "+login(t, a).token), []string{"/events"}
	case *GitHub:
		return newCaller(t, a, "Authorization", "Bearer "+a.token), []string{gitHubEvents}
	case *Nectar:
		for _, company := range a.companies {
			paths = append(paths, "/v2.2/connection/company/"+company.id, "/v2.2/document/company/"+company.id)
		}
		return newCaller(t, a, "X-API-Key", a.key), paths
	case *Openvolt:
		return newCaller(t, a, "x-api-key", a.key), []string{"/v1/customers", "/v1/meters", "/v1/consents"}
	case *Stripe:
		return newCaller(t, a, "Authorization", "Bearer "+a.key), []string{"/v1/events"}
	case *Svix:
		root := "/api/v1/app/" + a.app + "/poller/" + a.sink
		return newCaller(t, a, "Authorization", "Bearer "+a.token), []string{root + "/consumer/c", root}
	case *UtilityAPI:
		return newCaller(t, a, "Authorization", "Bearer "+a.token), []string{"/api/v2/events"}
	}
	t.Fatalf("no path for a %T", api)
	return nil, nil
}

func eachAPI(t *testing.T, check func(t *testing.T, s Simulated)) {
	for _, s := range APIs() {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { check(t, s) })
		})
	}
}

func TestAPIsAreSorted(t *testing.T) {
	if !slices.IsSortedFunc(APIs(), func(a, b Simulated) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted")
	}
}

func TestEveryAPIRefusesOnDemand(t *testing.T) {
	eachAPI(t, func(t *testing.T, s Simulated) {
		api := s.New(Options{Seed: 4})
		c, paths := reach(t, api)
		api.Backfill(30, time.Hour)
		limited := http.StatusTooManyRequests
		if s.Name == "github" {
			limited = http.StatusForbidden
		}
		for faults, statuses := range map[string][]int{
			"401": {401}, "429": {limited}, "429date": {limited}, "5xx": {500, 502, 503}, "html": {502}, "html200": {200}, "disabled": {403, 422},
		} {
			set(t, api, faults+"=1x")
			resp, body := c.do("GET", paths[0], "")
			if !slices.Contains(statuses, resp.StatusCode) {
				t.Errorf("%s: %d %s", faults, resp.StatusCode, body)
			}
			if faults == "401" && !json.Valid(body) {
				t.Errorf("%s: %s", faults, body)
			}
			if after := resp.Header.Get("Retry-After"); limited == 429 && (after == "") == strings.HasPrefix(faults, "429") {
				t.Errorf("%s: Retry-After %q", faults, after)
			}
			if resp, _ := c.do("GET", paths[0], ""); resp.StatusCode != 200 {
				t.Errorf("after %s: %d", faults, resp.StatusCode)
			}
			time.Sleep(time.Minute)
		}
		if h := api.Stats().Hasty; h != 2 {
			t.Errorf("%d hasty requests", h)
		}
	})
}

func set(t *testing.T, api API, text string) {
	t.Helper()
	faults, err := ParseFaults(text)
	if err != nil {
		t.Fatal(err)
	}
	api.SetFaults(faults)
}

func TestEveryAPIHoldsBackAndLies(t *testing.T) {
	eachAPI(t, func(t *testing.T, s Simulated) {
		api := s.New(Options{Seed: 4, Skew: 3 * time.Minute})
		c, paths := reach(t, api)
		api.Backfill(60, time.Hour)
		date := func() time.Duration {
			resp, _ := c.do("GET", paths[0], "")
			at, err := http.ParseTime(resp.Header.Get("Date"))
			if err != nil {
				t.Fatal(err)
			}
			return time.Until(at).Round(time.Minute)
		}
		set(t, api, "date=1x:1h")
		if ahead, again := date(), date(); ahead != 63*time.Minute || again != 3*time.Minute {
			t.Errorf("the clock is %v ahead, then %v", ahead, again)
		}
		set(t, api, "hang=1x:30s")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := must(http.NewRequestWithContext(ctx, "GET", callBase+paths[0], nil))
		r.Header = c.header
		if _, err := c.http.Do(r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an answer that hangs: %v", err)
		}
		set(t, api, "slow=1x:2s")
		if began := time.Now(); date() == 0 || time.Since(began) != 2*time.Second {
			t.Errorf("a slow answer takes %v", time.Since(began))
		}
		_, plain := c.do("GET", paths[0], "")
		set(t, api, "order=1x")
		if _, turned := c.do("GET", paths[0], ""); string(turned) == string(plain) || len(turned) != len(plain) || !json.Valid(turned) {
			t.Error("the order is not turned round")
		}
		set(t, api, "twice=1x")
		if _, twice := c.do("GET", paths[0], ""); len(twice) <= len(plain) || !json.Valid(twice) {
			t.Error("nothing is listed twice")
		}
		set(t, api, "end=1x")
		if _, ended := c.do("GET", paths[0], ""); len(ended) >= len(plain) || !json.Valid(ended) {
			t.Error("the list does not end")
		}
	})
}

// What a schedule did can be done again: one seed, one story, down to the bytes of every answer.
func TestEveryAPIRepeatsASchedule(t *testing.T) {
	eachAPI(t, func(t *testing.T, s Simulated) {
		began := time.Now()
		story := func(seed uint64) (told string) {
			api := s.New(Options{Seed: seed, PageSize: 7})
			c, paths := reach(t, api)
			api.Backfill(40, time.Hour)
			set(t, api, "5xx=0.2,429=0.1:1s,401=0.1,twice=0.2,order=0.1,html=0.1,lost=0.1,end=0.1")
			for i := range 40 {
				api.Add(i % 3)
				if i%5 == 0 {
					api.AddLate(time.Minute)
				}
				resp, body := c.do("GET", paths[i%len(paths)], "")
				told += fmt.Sprintf("%d %v %s\n", resp.StatusCode, resp.Header, body)
			}
			for _, f := range api.Facts() {
				told += fmt.Sprintf("%s %s %t %s\n", f.Key, f.Time, f.Gone, f.Body)
			}
			return told
		}
		first, again, other := story(1), story(1), story(2)
		if !time.Now().Equal(began) {
			t.Fatal("time has passed")
		}
		if first != again {
			t.Error("one seed tells two stories")
		}
		if first == other {
			t.Error("two seeds tell one story")
		}
	})
}

func TestEveryAPIInParallel(t *testing.T) {
	for _, s := range APIs() {
		api := s.New(Options{})
		c, paths := reach(t, api)
		ctx, cancel := context.WithCancel(t.Context())
		var running, asking sync.WaitGroup
		running.Go(func() { _ = api.Run(ctx, 200) })
		for _, path := range paths {
			asking.Go(func() {
				for range 20 {
					if resp, body := c.do("GET", path, ""); resp.StatusCode != 200 || !json.Valid(body) {
						t.Errorf("%s%s: %d", s.Name, path, resp.StatusCode)
					}
					_, _, _ = api.Facts(), api.Stats(), api.Faults()
				}
			})
		}
		asking.Wait()
		cancel()
		running.Wait()
	}
}

// What was out of reach for a time is told, though it is listed again.
func TestFactsRememberWhatWasGone(t *testing.T) {
	eachAPI(t, func(t *testing.T, s Simulated) {
		api := s.New(Options{Seed: 2})
		c, paths := reach(t, api)
		api.Add(20)
		set(t, api, "keep=15")
		c.do("GET", paths[0], "")
		set(t, api, "")
		gone := 0
		for _, f := range api.Facts() {
			if f.Gone {
				gone++
			}
		}
		resources := s.Name == "nectar" || s.Name == "openvolt" // a newer version is what makes one gone
		if !resources && gone != 5 {
			t.Errorf("%d facts are gone", gone)
		}
	})
}
