package simulator

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func newOpenvolt(t *testing.T, o Options) (*Openvolt, *caller) {
	v := NewOpenvolt(o)
	return v, newCaller(t, v, "x-api-key", v.key)
}

func (c *caller) openvolt(target string) []json.RawMessage {
	c.t.Helper()
	var l struct{ Data []json.RawMessage }
	c.get("/v1"+target, &l)
	if l.Data == nil {
		c.t.Errorf("%s has no data", target)
	}
	return l.Data
}

// https://github.com/openvolt/openapi, spec3.json: page and page_size, 20 by default; the envelope has nothing but data.
func TestOpenvoltPages(t *testing.T) {
	v, c := newOpenvolt(t, Options{Seed: 2})
	v.AddAt(time.Now(), slices.Repeat([]string{"customer.created"}, 45)...)
	v.AddAt(time.Now(), "meter.created", "hosted_consent.approved", "hosted_consent.approved")
	for query, want := range map[string]int{
		"/customers": 20, "/customers?page=3": 5, "/customers?page=4": 0, "/customers?page_size=100": 45, "/meters": 1, "/consents": 2,
		"/meters?customer_id=x": 0,
	} {
		if got := len(c.openvolt(query)); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	v.AddAt(time.Now(), "hosted_consent.revoked")
	v.AddAt(time.Now(), "hosted_consent.approved")
	v.consents = v.consents[1:] // the last one, which nobody has seen
	v.AddAt(time.Now(), "hosted_consent.revoked")
	gone := []bool{}
	for _, f := range v.Facts() {
		if f.Type == "hosted_consent.revoked" {
			gone = append(gone, f.Gone)
		}
	}
	if !slices.Equal(gone, []bool{false, true}) {
		t.Errorf("revocations that nobody can see: %v", gone)
	}
	v.AddAt(time.Now(), "hosted_consent.approved")
	if got := len(c.openvolt("/consents")); got != 1 {
		t.Errorf("%d consents after one was revoked", got)
	}
	c.refused("GET", "/v1/customers?page=0", "", 400, "page is not valid")
	c.refused("GET", "/v1/interval-data", "", 400, "meter_id")
	c.refused("GET", "/v1/interval-data?meter_id=x&lookback=d", "", 400, "lookback")
	c.refused("GET", "/v1/interval-data?meter_id=x&start_date=soon", "", 400, "start_date")
	c.refused("GET", "/v1/documents", "", 404, "not_found")
	newCaller(t, v).refused("GET", "/v1/meters", "", 401, "unauthorized")
}

// https://docs.openvolt.com/docs/webhooks tells of gaps that are filled in and of corrections: intervals come in any order, and again with
// another consumption. lookback is "a number followed by a letter".
func TestOpenvoltIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, c := newOpenvolt(t, Options{Seed: 3})
		for range 30 { // ten days
			v.AddAt(time.Now(), "meter_data.received")
			time.Sleep(8 * time.Hour)
		}
		if len(v.meters) != 1 {
			t.Fatalf("%d meters", len(v.meters))
		}
		meter := v.meters[0]
		today := time.Now().UTC()
		of := "/interval-data?meter_id=" + meter.id
		all := c.openvolt(of + "&lookback=1m")
		keys := map[string]bool{}
		for _, raw := range all {
			key, err := v.Key("", fmt.Appendf(nil, `{"event_id":"meter_data.received","payload":[%s]}`, raw))
			if err != nil {
				t.Fatal(err)
			}
			keys[key] = true
		}
		corrected := 0
		for _, f := range v.Facts() {
			if f.Type != "meter_data.received" {
				continue
			}
			if f.Gone == keys[f.Key] {
				t.Errorf("%s: gone %t, listed %t", f.Key, f.Gone, keys[f.Key])
			}
			if f.Gone {
				corrected++
			}
		}
		if len(all) < 40 || corrected == 0 {
			t.Errorf("%d half hours, %d corrections", len(all), corrected)
		}
		week, day := len(c.openvolt(of+"&lookback=1w")), len(c.openvolt(of))
		if !(day < week && week < len(all)) {
			t.Errorf("%d of a day, %d of a week, %d in all", day, week, len(all))
		}
		span := func(from, to time.Time) int {
			return len(c.openvolt(of + "&start_date=" + from.Format("2006-1-2") + "&end_date=" + to.Format(time.DateOnly)))
		}
		tomorrow := today.AddDate(0, 0, 1)
		if got := span(today.AddDate(0, 0, -30), tomorrow); got != len(all) {
			t.Errorf("%d by dates, %d by lookback", got, len(all))
		}
		middle := today.AddDate(0, 0, -5) // every interval is on one side of a day
		if a, b := span(today.AddDate(0, 0, -30), middle), span(middle, tomorrow); a+b != len(all) || a == 0 || b == 0 {
			t.Errorf("%d before, %d after, %d in all", a, b, len(all))
		}
		if got := len(c.openvolt("/interval-data?meter_number=" + meter.number + "&lookback=1m")); got != len(all) {
			t.Errorf("%d by meter number", got)
		}
	})
}

// Every fact that is not gone is listed, byte for byte.
func TestOpenvoltFacts(t *testing.T) {
	v, c := newOpenvolt(t, Options{Seed: 5})
	v.Backfill(400, 12*time.Hour)
	v.Add(20)
	listed := map[string][]byte{}
	put := func(typ string, raws []json.RawMessage) {
		for _, raw := range raws {
			body := fmt.Appendf(nil, `{"event_id":%q,"payload":%s}`, typ, raw)
			key, err := v.Key("", body)
			if err != nil {
				t.Fatal(err)
			}
			listed[key] = body
		}
	}
	put("customer.created", c.openvolt("/customers?page_size=500"))
	put("meter.created", c.openvolt("/meters?page_size=500"))
	put("hosted_consent.approved", c.openvolt("/consents?page_size=500"))
	for _, m := range v.meters {
		put("meter_data.received", c.openvolt("/interval-data?lookback=1w&meter_id="+m.id))
	}
	types, shown := map[string]int{}, 0
	keys := map[string]bool{}
	for _, f := range v.Facts() {
		types[f.Type]++
		if keys[f.Key] {
			t.Errorf("two facts are %s", f.Key)
		}
		keys[f.Key] = true
		if len(f.shown) > 0 {
			shown++
		}
		if f.Type == "hosted_consent.revoked" {
			body := []byte(`{"event_id":"hosted_consent.revoked","payload":null}`)
			if key, err := v.Key("x_"+f.Resource, body); err != nil || key != f.Key {
				t.Errorf("%s is found as %q, %v", f.Key, key, err)
			}
			continue
		}
		if body, ok := listed[f.Key]; ok == f.Gone || ok && !f.Holds(body) {
			t.Errorf("%s: listed %t as %s", f.Key, ok, body)
		}
	}
	if len(types) != 5 || shown == 0 {
		t.Errorf("types %v, %d meters pulled", types, shown)
	}
}

func FuzzParseIntervalQuery(f *testing.F) {
	for _, seed := range []string{
		"meter_id=m&lookback=1d",
		"meter_number=1&start_date=2022-11-1&end_date=2022-11-02T00:00:00Z",
		"meter_id=m&lookback=d",
		"customer_id=c&lookback=-1y",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		if q, wrong := parseIntervalQuery(values, time.Now()); wrong == "" && q.meter+q.number+q.customer == "" {
			t.Errorf("%q asks for no meter", text)
		}
	})
}
