package simulator

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type utilityAPIPage struct {
	Events []struct {
		UID, Type, TS string
		Delivered     *bool `json:"is_delivered"`
	}
	Next *string
}

func (p *utilityAPIPage) ids() []string {
	ids := []string{}
	for _, e := range p.Events {
		ids = append(ids, e.UID)
	}
	return ids
}

func newUtilityAPI(t *testing.T, o Options) (*UtilityAPI, *caller) {
	u := NewUtilityAPI(o)
	return u, newCaller(t, u, "Authorization", "Bearer "+u.token)
}

func (c *caller) utilityAPI(target string) (p utilityAPIPage) {
	c.t.Helper()
	c.get(target, &p)
	return p
}

// https://utilityapi.com/docs/api/events/list: "reverse ordered by timestamp"; "If there are more results than the page limit, this is a
// link to the next set of results", else null.
func TestUtilityAPIPaging(t *testing.T) {
	u, c := newUtilityAPI(t, Options{Seed: 4})
	u.Backfill(1500, time.Hour)
	var got []string
	pages := 0
	for target := "/api/v2/events?is_delivered=false"; target != ""; pages++ {
		p := c.utilityAPI(target)
		got, target = append(got, p.ids()...), ""
		if p.Next != nil {
			target = *p.Next
		}
		for _, e := range p.Events {
			if at, err := time.Parse(time.RFC3339Nano, e.TS); err != nil || *e.Delivered || !strings.HasSuffix(e.TS, "+00:00") || at.IsZero() {
				t.Fatalf("%+v: %v", e, err)
			}
		}
	}
	want := factIDs(u)
	slices.Reverse(want)
	if !slices.Equal(got, want) || pages != 2 {
		t.Errorf("%d events on %d pages, or another order", len(got), pages)
	}
}

// https://utilityapi.com/docs/api/events/modify: PATCH sets is_delivered and returns the updated event; a list filtered by it holds the
// event no longer, also behind `after`.
func TestUtilityAPIAcknowledgement(t *testing.T) {
	u, c := newUtilityAPI(t, Options{})
	ids := eventIDs(u.Add(4)) // oldest first
	for range 2 {
		resp, body := c.do("PATCH", "/api/v2/events/"+ids[1], `{"is_delivered": true}`)
		if compact := strings.ReplaceAll(string(body), " ", ""); resp.StatusCode != 200 || !strings.Contains(compact, `"is_delivered":true`) {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
	for query, want := range map[string][]string{
		"":                                      {ids[3], ids[2], ids[1], ids[0]},
		"?is_delivered=false":                   {ids[3], ids[2], ids[0]},
		"?is_delivered=true":                    {ids[1]},
		"?is_delivered=false&after=" + ids[2]:   {ids[0]},
		"?is_delivered=true&after=" + ids[0]:    {},
		"?after=" + ids[1] + "&is_delivered=":   {ids[0]},
		"?is_delivered=False&after=" + ids[1]:   {ids[0]},
		"?is_delivered=false&unknown=parameter": {ids[3], ids[2], ids[0]},
	} {
		p := c.utilityAPI("/api/v2/events" + query)
		if !slices.Equal(p.ids(), want) || p.Next != nil {
			t.Errorf("%s: %v, want %v", query, p.ids(), want)
		}
	}
	if s := u.Stats(); s.Acked != 1 {
		t.Errorf("%+v", s)
	}
	for i, f := range u.Facts() {
		if f.Acked != (i == 1) || strings.Contains(strings.ReplaceAll(string(f.Body), " ", ""), `"is_delivered":true`) {
			t.Errorf("fact %d: %+v", i, f)
		}
	}
	c.refused("PATCH", "/api/v2/events/x", `{"is_delivered": true}`, 404, "not_found")
	c.refused("PATCH", "/api/v2/events/"+ids[0], `is_delivered=true`, 400, "invalid_param")
	c.refused("GET", "/api/v2/events?is_delivered=maybe", "", 400, "invalid_param")
	c.refused("GET", "/api/v2/events?after=x", "", 400, "invalid_param")
	newCaller(t, u).refused("GET", "/api/v2/events", "", 401, "unauthorized")
}

// An acknowledged event does not come back by a page that repeats the one before.
func TestUtilityAPIFilterHoldsUnderFaults(t *testing.T) {
	u, c := newUtilityAPI(t, Options{PageSize: 4})
	ids := eventIDs(u.Add(12))
	slices.Reverse(ids)
	c.do("PATCH", "/api/v2/events/"+ids[5], `{"is_delivered": true}`)
	for _, fault := range []string{"loop", "repeat"} {
		set(t, u, fault+"=1x")
		p := c.utilityAPI("/api/v2/events?is_delivered=false&after=" + ids[5])
		if slices.Contains(p.ids(), ids[5]) || !slices.Contains(p.ids(), ids[4]) {
			t.Errorf("%s lists %v", fault, p.ids())
		}
	}
}

// "Do not expect any specific response format for this error (could be html, json, or nothing)."
func TestUtilityAPIErrorForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, c := newUtilityAPI(t, Options{})
		u.SetFaults(Faults{RateLimited: Fault{Next: 30}, ServerError: Fault{Share: 1}})
		forms := map[string]int{}
		for i := range 60 {
			resp, body := c.do("GET", "/api/v2/events", "")
			if limited := i < 30; limited != (resp.StatusCode == 429) || limited != (resp.Header.Get("Retry-After") == "5") {
				t.Fatalf("request %d: %d %v", i, resp.StatusCode, resp.Header)
			}
			switch {
			case len(body) == 0:
				forms["nothing"]++
			case body[0] == '<':
				forms["html"]++
			case body[0] == '{':
				forms["json"]++
			}
		}
		if len(forms) != 3 {
			t.Errorf("forms %v", forms)
		}
	})
}

func FuzzParseUtilityAPIQuery(f *testing.F) {
	for _, seed := range []string{"is_delivered=false&after=456abc", "is_delivered=TRUE", "is_delivered=0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		q, wrong := parseUtilityAPIQuery(values)
		filtered := wrong == "" && values.Get("is_delivered") != ""
		if filtered && q.wants(&entry{}) == q.wants(&entry{acked: true}) {
			t.Errorf("%q does not filter", text)
		}
	})
}
