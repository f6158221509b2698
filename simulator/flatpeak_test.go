package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// client talks to an account without sockets, so that it works in a synctest bubble, too.
type client struct {
	t     *testing.T
	api   http.Handler
	token string
}

type listing struct {
	Object, URL string
	HasMore     bool              `json:"has_more"`
	Data        []json.RawMessage `json:"data"`
}

func (c *client) do(method, target string, edit func(*http.Request)) *http.Response {
	c.t.Helper()
	r := httptest.NewRequestWithContext(c.t.Context(), method, target, nil)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, r)
	return w.Result()
}

func (c *client) get(target string) (int, []byte) {
	c.t.Helper()
	resp := c.do("GET", target, nil)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// list gets a page that must come.
func (c *client) list(query string) listing {
	c.t.Helper()
	status, body := c.get("/events" + query)
	var l listing
	if err := json.Unmarshal(body, &l); status != 200 || err != nil {
		c.t.Fatalf("GET /events%s: %d, %v: %.200s", query, status, err, body)
	}
	if l.Object != "list" || l.URL != "/events" {
		c.t.Fatalf("envelope of %q and %q", l.Object, l.URL)
	}
	return l
}

func id(t *testing.T, raw []byte) string {
	t.Helper()
	var item struct{ ID string }
	if err := json.Unmarshal(raw, &item); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return item.ID
}

func (l listing) ids(t *testing.T) []string {
	t.Helper()
	ids := []string{}
	for _, raw := range l.Data {
		ids = append(ids, id(t, raw))
	}
	return ids
}

// walk lists everything from the head.
func (c *client) walk(limit int) (ids []string, raws [][]byte) {
	c.t.Helper()
	query := fmt.Sprintf("?limit=%d", limit)
	for {
		l := c.list(query)
		for _, raw := range l.Data {
			ids, raws = append(ids, id(c.t, raw)), append(raws, raw)
		}
		if !l.HasMore {
			return ids, raws
		}
		query = fmt.Sprintf("?limit=%d&starting_after=%s", limit, ids[len(ids)-1])
	}
}

func login(t *testing.T, f *Flatpeak) *client {
	t.Helper()
	c := &client{t: t, api: f}
	resp := c.do("GET", "/login", func(r *http.Request) { r.SetBasicAuth(f.accountID, f.key) })
	var answer struct {
		Token    string `json:"bearer_token"`
		Expires  int    `json:"expires_in"`
		LiveMode *bool  `json:"live_mode"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 {
		t.Fatalf("login: %d, %v", resp.StatusCode, err)
	}
	if strings.Count(answer.Token, ".") != 2 || answer.Expires < 1 || answer.LiveMode == nil {
		t.Fatalf("login answered %+v", answer)
	}
	c.token = answer.Token
	return c
}

func eventIDs(all []Event) []string {
	ids := make([]string, len(all))
	for i, e := range all {
		ids[i] = e.ID
	}
	return ids
}

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlatpeak(Options{TokenLife: 90 * time.Second, AccountID: "acc_x", APIKey: "sk_live_y"})
		c := login(t, f)
		c.list("")
		time.Sleep(89 * time.Second)
		c.list("")
		time.Sleep(time.Second)
		if status, _ := c.get("/events"); status != 401 {
			t.Errorf("an expired token: %d", status)
		}
		c = login(t, f)
		c.token = login(t, f).token + "x"
		if status, _ := c.get("/events"); status != 401 {
			t.Errorf("a forged token: %d", status)
		}
		c.token = ""
		status, body := c.get("/login")
		var problem struct {
			Object, Type, Code string
			LiveMode           bool   `json:"live_mode"`
			Created            string `json:"time_created"`
		}
		if err := json.Unmarshal(body, &problem); err != nil || status != 401 {
			t.Fatalf("login without a key: %d, %v", status, err)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000", problem.Created); err != nil {
			t.Error(err)
		}
		if problem.Object != "error" || problem.Type != "invalid_request" || problem.Code == "" || !problem.LiveMode {
			t.Errorf("error object %+v", problem)
		}
		if s := f.Stats(); s.Logins != 3 || s.Denied != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestPaging(t *testing.T) {
	f := NewFlatpeak(Options{Seed: 7})
	c := login(t, f)
	f.Backfill(900, 5*time.Minute) // three a second
	f.Add(100)
	all := f.Events()
	for _, limit := range []int{1, 7, 30, 100} {
		ids, raws := c.walk(limit)
		if !slices.Equal(ids, eventIDs(all)) {
			t.Fatalf("limit %d: %d ids listed, of %d, or in another order", limit, len(ids), len(all))
		}
		for i := range raws {
			if !bytes.Equal(raws[i], all[i].Raw) {
				t.Fatalf("bytes differ:\n%s\n%s", raws[i], all[i].Raw)
			}
		}
	}
	if !slices.IsSortedFunc(all, func(a, b Event) int { return b.Time.Compare(a.Time) }) {
		t.Error("not newest first")
	}
	sorted := slices.Sorted(slices.Values(eventIDs(all)))
	if len(slices.Compact(sorted)) != 1000 {
		t.Error("ids repeat")
	}
	if l := c.list(""); len(l.Data) != 30 || !l.HasMore {
		t.Errorf("default page of %d, has_more %t", len(l.Data), l.HasMore)
	}
	l := c.list("?limit=5&ending_before=" + all[20].ID)
	if !slices.Equal(l.ids(t), eventIDs(all[15:20])) || !l.HasMore {
		t.Error("ending_before does not give the next newer ones")
	}
	if l = c.list("?limit=20&ending_before=" + all[20].ID); len(l.Data) != 20 || l.HasMore {
		t.Errorf("all newer ones: %d, has_more %t", len(l.Data), l.HasMore)
	}
	for i, e := range all[:50] {
		if status, raw := c.get("/events/" + e.ID); status != 200 || !bytes.Equal(raw, e.Raw) {
			t.Errorf("event %d by id: %d", i, status)
		}
	}
}

func TestArrivalsWhilePaging(t *testing.T) {
	f := NewFlatpeak(Options{})
	c := login(t, f)
	f.Backfill(300, time.Hour)
	want := eventIDs(f.Events())
	var got []string
	for query := "?limit=10"; ; query = "?limit=10&starting_after=" + got[len(got)-1] {
		l := c.list(query)
		got = append(got, l.ids(t)...)
		f.Add(3)
		if !l.HasMore {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Error("a walk is disturbed by arrivals at the head")
	}
}

func TestFilters(t *testing.T) {
	f := NewFlatpeak(Options{Plain: true})
	c := login(t, f)
	f.Add(2000)
	var want []string
	for _, e := range f.Events() {
		if e.Type == "tariff.expired" {
			want = append(want, e.ID)
		}
	}
	l := c.list("?limit=100&event_type=tariff.expired")
	if n := min(100, len(want)); n < 50 || !slices.Equal(l.ids(t), want[:n]) {
		t.Errorf("by type: %d of %d", len(l.Data), n)
	}
	if l = c.list("?event_type=no.such"); len(l.Data) != 0 || l.HasMore {
		t.Error("events of a type that none has")
	}
	var data struct {
		Data struct {
			LocationID string `json:"location_id"`
		}
	}
	_, raw := c.get("/events/" + want[0])
	if err := json.Unmarshal(raw, &data); err != nil {
		t.Fatal(err)
	}
	l = c.list("?limit=100&object_id=" + data.Data.LocationID)
	if !slices.Contains(l.ids(t), want[0]) || len(l.Data) > 60 {
		t.Errorf("by object: %d events, or not the one with that object", len(l.Data))
	}
	for _, raw := range l.Data {
		if !bytes.Contains(raw, []byte(data.Data.LocationID)) {
			t.Errorf("not about it: %s", raw)
		}
	}
}

func TestBadRequests(t *testing.T) {
	f := NewFlatpeak(Options{PageSize: 10})
	c := login(t, f)
	e := f.Add(30)[0].ID
	for target, want := range map[string]int{
		"/events?limit=0": 400, "/events?limit=101": 400, "/events?limit=x": 400, "/events?starting_after=evt_x": 404,
		"/events?ending_before=evt_x": 404, "/events?starting_after=" + e + "&ending_before=" + e: 400, "/events/evt_x": 404,
		"/event": 404, "/": 404, "/events/" + e: 200,
	} {
		if status, body := c.get(target); status != want || !json.Valid(body) {
			t.Errorf("%s: %d, want %d: %s", target, status, want, body)
		}
	}
	if resp := c.do("POST", "/events", nil); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	if l := c.list("?limit=100"); len(l.Data) != 10 {
		t.Errorf("a page of %d in spite of PageSize", len(l.Data))
	}
}

func TestDateFollowsSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlatpeak(Options{Skew: time.Hour})
		date, err := http.ParseTime(login(t, f).do("GET", "/events", nil).Header.Get("Date"))
		if err != nil || time.Until(date) != time.Hour {
			t.Errorf("Date %v, %v", date, err)
		}
		if e := f.Add(1)[0]; !e.Time.Equal(date) {
			t.Errorf("an event at %v", e.Time)
		}
	})
}
