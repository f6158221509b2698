package simulator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type stripeList struct {
	Object, URL string
	HasMore     bool `json:"has_more"`
	Data        []struct {
		ID, Object, Type string
		Created          int64
		Livemode         *bool
	}
}

func (l *stripeList) ids() (ids []string) {
	for _, e := range l.Data {
		ids = append(ids, e.ID)
	}
	return ids
}

func newStripe(t *testing.T, o Options) (*Stripe, *caller) {
	s := NewStripe(o)
	return s, newCaller(t, s, "Authorization", "Bearer "+s.key)
}

func (c *caller) stripe(query string) (l stripeList) {
	c.t.Helper()
	c.get("/v1/events"+query, &l)
	if l.Object != "list" || l.URL != "/v1/events" {
		c.t.Errorf("envelope %+v", l)
	}
	return l
}

// https://docs.stripe.com/api/pagination: reverse chronological, starting_after and ending_before, has_more, limit 1 to 100, 10 by
// default.
func TestStripePaging(t *testing.T) {
	s, c := newStripe(t, Options{Seed: 3})
	s.Backfill(250, time.Hour)
	want := factIDs(s)
	slices.Reverse(want)
	for _, limit := range []int{1, 9, 100} {
		var got []string
		for query := fmt.Sprintf("?limit=%d", limit); ; query = fmt.Sprintf("?limit=%d&starting_after=%s", limit, got[len(got)-1]) {
			l := c.stripe(query)
			got = append(got, l.ids()...)
			if !l.HasMore {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %d ids of %d, or another order", limit, len(got), len(want))
		}
	}
	l := c.stripe("")
	if len(l.Data) != 10 || !l.HasMore || l.Data[0].Object != "event" || l.Data[0].Livemode == nil {
		t.Errorf("%+v", l)
	}
	if slices.IsSorted(want) {
		t.Error("ids are ordered")
	}
	if l := c.stripe("?limit=3&ending_before=" + want[10]); !slices.Equal(l.ids(), want[7:10]) || !l.HasMore {
		t.Error("ending_before does not give what is next newer")
	}
	if !json.Valid(s.Facts()[0].Raw) {
		t.Error("an item is not JSON")
	}
	var one struct{ ID string }
	if c.get("/v1/events/"+want[5], &one); one.ID != want[5] {
		t.Errorf("one event: %s", one.ID)
	}
	c.refused("GET", "/v1/events?limit=101", "", 400, "invalid_request_error")
	c.refused("GET", "/v1/events?starting_after=evt_x", "", 400, `"param":"starting_after"`)
	c.refused("GET", "/v1/events/evt_x", "", 404, `No such event: 'evt_x'`)
	c.refused("POST", "/v1/events", "", 405, "invalid_request_error")
}

// https://docs.stripe.com/api/events/list: created, type and types filter.
func TestStripeFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStripe(t, Options{})
		now := time.Now()
		for i := range 10 {
			s.AddAt(now.Add(time.Duration(i)*time.Second), "payout.paid")
		}
		s.AddAt(now, "charge.failed")
		at := now.Unix()
		for query, want := range map[string]int{
			fmt.Sprintf("created=%d", at):                              2,
			fmt.Sprintf("created[gte]=%d", at+3):                       7,
			fmt.Sprintf("created[gt]=%d&created[lt]=%d", at+3, at+6):   2,
			fmt.Sprintf("created[gte]=%d&created[lte]=%d", at+3, at+6): 4,
			"type=charge.failed":                                       1,
			"types[]=charge.failed&types[]=payout.paid":                11,
		} {
			if l := c.stripe("?limit=100&" + query); len(l.Data) != want {
				t.Errorf("%s: %d events, want %d", query, len(l.Data), want)
			}
		}
	})
}

// "You can retrieve events going back 30 days" (https://docs.stripe.com/api/events).
func TestStripeRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStripe(t, Options{})
		old := s.Add(2)
		time.Sleep(29 * 24 * time.Hour)
		s.AddLate(time.Minute)
		if l := c.stripe(""); len(l.Data) != 3 {
			t.Errorf("%d events after 29 days", len(l.Data))
		}
		time.Sleep(24*time.Hour + time.Second)
		if l := c.stripe(""); len(l.Data) != 1 {
			t.Errorf("%d events after 30 days", len(l.Data))
		}
		c.refused("GET", "/v1/events?starting_after="+old[1].ID, "", 400, "aged out of our retention policy")
		for i, f := range s.Facts() {
			if f.Gone != (i < 2) {
				t.Errorf("fact %d gone: %t", i, f.Gone)
			}
		}
	})
}

func TestStripeAuthentication(t *testing.T) {
	s := NewStripe(Options{APIKey: "sk_live_x"})
	s.Add(1)
	for _, good := range []string{"Bearer sk_live_x", "Basic " + base64.StdEncoding.EncodeToString([]byte("sk_live_x:"))} {
		if l := newCaller(t, s, "Authorization", good).stripe(""); len(l.Data) != 1 || !*l.Data[0].Livemode {
			t.Errorf("%s: %+v", good, l)
		}
	}
	newCaller(t, s, "Authorization", "Bearer sk_live_y").refused("GET", "/v1/events", "", 401, "Invalid API Key")
	c := newCaller(t, s, "Authorization", "Bearer sk_live_x")
	s.SetFaults(Faults{RateLimited: Fault{Next: 1}, Lost: Fault{Next: 1}})
	c.refused("GET", "/v1/events", "", 429, `"code":"rate_limit"`)
	c.refused("GET", "/v1/events?starting_after="+s.Facts()[0].ID, "", 400, "resource_missing")
}

func FuzzParseStripeQuery(f *testing.F) {
	for _, seed := range []string{
		"limit=5&created[gte]=17",
		"created=-1&starting_after=x",
		"types[]=a&types[]=b",
		"created[lte]=99999999999999999999",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		if q, _, message := parseStripeQuery(values); message == "" && (q.limit < 1 || q.limit > stripeLimit) {
			t.Errorf("%q: limit %d", text, q.limit)
		} else if message == "" {
			q.wants(&entry{})
		}
	})
}
