package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// faulty is an account of 100 events, a client that is logged in, and the faults in force.
func faulty(t *testing.T, faults string) (*Flatpeak, *client) {
	t.Helper()
	f := NewFlatpeak(Options{})
	c := login(t, f)
	f.Backfill(100, time.Hour)
	parsed, err := ParseFaults(faults)
	if err != nil {
		t.Fatal(err)
	}
	f.SetFaults(parsed)
	return f, c
}

func TestFaultsThatRefuse(t *testing.T) {
	for name, want := range map[string]struct {
		status int
		body   string
	}{
		"disabled": {422, `"code":"account_disabled"`},
		"429":      {429, `"code":"rate_limited"`},
		"429date":  {429, `"code":"rate_limited"`},
		"html":     {502, "<html>"},
		"html200":  {200, "<html>"},
		"401":      {401, `"code":"token_invalid"`},
	} {
		f, c := faulty(t, name+"=2x")
		for i := range 2 {
			if status, body := c.get("/events"); status != want.status || !strings.Contains(string(body), want.body) {
				t.Errorf("%s, request %d: %d %s", name, i, status, body)
			}
		}
		if l := c.list(""); len(l.Data) != 30 {
			t.Errorf("after %s: a page of %d", name, len(l.Data))
		}
		if s := f.Stats(); s.Faults[name] != 2 || s.Requests != 4 || s.Pages != 1 || s.Listed != 30 {
			t.Errorf("after %s: %+v", name, s)
		}
		if f.Faults() != (Faults{}) && f.Faults().String() != "" {
			t.Errorf("%s is left as %s", name, f.Faults())
		}
	}
}

func TestServerErrors(t *testing.T) {
	_, c := faulty(t, "5xx")
	seen := map[int]bool{}
	for range 60 {
		status, body := c.get("/login")
		if !json.Valid(body) || !strings.Contains(string(body), `"type":"api_error"`) {
			t.Fatalf("%d: %s", status, body)
		}
		seen[status] = true
	}
	if len(seen) != 3 || !seen[500] || !seen[502] || !seen[503] {
		t.Errorf("statuses %v", seen)
	}
}

func TestShare(t *testing.T) {
	f, c := faulty(t, "401=0.25")
	refused := 0
	for range 400 {
		if status, _ := c.get("/events?limit=1"); status == 401 {
			refused++
		}
	}
	if refused < 70 || refused > 130 || f.Stats().Faults["401"] != refused {
		t.Errorf("%d of 400 refused, %+v", refused, f.Stats())
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, read := range map[string]func(string) time.Duration{
			"429": func(text string) time.Duration {
				n, err := strconv.Atoi(text)
				if err != nil {
					t.Error(err)
				}
				return time.Duration(n) * time.Second
			},
			"429date": func(text string) time.Duration {
				date, err := http.ParseTime(text)
				if err != nil {
					t.Error(err)
				}
				return time.Until(date)
			},
		} {
			f, c := faulty(t, name+"=1x:7s")
			after := read(c.do("GET", "/events", nil).Header.Get("Retry-After"))
			if after != 7*time.Second {
				t.Errorf("%s: Retry-After %v", name, after)
			}
			time.Sleep(after - 1)
			c.list("")
			time.Sleep(time.Nanosecond)
			c.list("")
			if f.Stats().Hasty != 1 {
				t.Errorf("%s: %d hasty requests", name, f.Stats().Hasty)
			}
		}
	})
}

func TestHangAndSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := faulty(t, "hang=1x:30s,slow=2x:3s")
		for _, want := range []time.Duration{33 * time.Second, 3 * time.Second, 0} {
			began := time.Now()
			c.list("")
			if took := time.Since(began); took != want {
				t.Errorf("took %v, want %v", took, want)
			}
		}
	})
}

// Over a real connection: a hang ends with the client, and a body ends early.
func TestConnectionFaults(t *testing.T) {
	f, c := faulty(t, "hang=1x:1h")
	left := make(chan struct{}, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.ServeHTTP(w, r)
		left <- struct{}{}
	}))
	defer server.Close()
	get := func(limit time.Duration) ([]byte, error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+c.token)
		resp, err := (&http.Client{Timeout: limit}).Do(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	if _, err := get(50 * time.Millisecond); err == nil {
		t.Error("an answer in spite of the hang")
	}
	<-left
	f.SetFaults(Faults{CutBody: Fault{Next: 1}})
	if body, err := get(time.Minute); !errors.Is(err, io.ErrUnexpectedEOF) || json.Valid(body) || len(body) == 0 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if body, err := get(time.Minute); err != nil || !json.Valid(body) {
		t.Errorf("after the cut: %v", err)
	}
}

func TestRepeat(t *testing.T) {
	f, c := faulty(t, "repeat")
	for _, limit := range []int{1, 2, 3, 10} {
		ids, _ := c.walk(limit)
		unique := []string{}
		for _, id := range ids {
			if !slices.Contains(unique, id) {
				unique = append(unique, id)
			}
		}
		if !slices.Equal(unique, eventIDs(f.Events())) {
			t.Errorf("limit %d: %d events of 100", limit, len(unique))
		}
		if limit > 1 && len(ids) < 130 {
			t.Errorf("limit %d: only %d items", limit, len(ids))
		}
	}
}

func TestTwice(t *testing.T) {
	f, c := faulty(t, "twice")
	ids, _ := c.walk(10)
	if len(ids) < 110 {
		t.Errorf("%d items", len(ids))
	}
	for _, id := range eventIDs(f.Events()) {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is missing", id)
		}
	}
}

func TestLoop(t *testing.T) {
	f, c := faulty(t, "loop")
	all := eventIDs(f.Events())
	first := c.list("?limit=10")
	if !slices.Equal(first.ids(t), all[:10]) {
		t.Error("the first page is not the head")
	}
	if again := c.list("?limit=10&starting_after=" + all[9]); !slices.Equal(again.ids(t), all[:10]) || !again.HasMore {
		t.Errorf("the second page: %v", again.ids(t))
	}
}

func TestEndOfList(t *testing.T) {
	f, c := faulty(t, "end=1x")
	all := eventIDs(f.Events())
	if l := c.list(""); len(l.Data) != 0 || l.HasMore || l.Data == nil {
		t.Errorf("%d items, has_more %t", len(l.Data), l.HasMore)
	}
	f.SetFaults(Faults{Keep: 40})
	if ids, _ := c.walk(30); !slices.Equal(ids, all[:40]) {
		t.Errorf("keep=40 lists %d", len(ids))
	}
	for target, want := range map[string]int{
		"/events/" + all[39]: 200, "/events/" + all[40]: 404,
		"/events?starting_after=" + all[39]: 200, "/events?starting_after=" + all[40]: 404,
	} {
		if status, _ := c.get(target); status != want {
			t.Errorf("%s: %d, want %d", target, status, want)
		}
	}
	if len(f.Events()) != 100 {
		t.Error("keep hides events from the judge")
	}
}

func TestControl(t *testing.T) {
	f := NewFlatpeak(Options{})
	server := httptest.NewServer(f)
	defer server.Close()
	call := func(method, path, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/_simulator/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if status, text := call("POST", "events?n=5", ""); status != 200 || strings.Count(text, "\n") != 5 {
		t.Errorf("add: %d %s", status, text)
	}
	if _, text := call("POST", "events?late=2m&type=tariff.expired", ""); !strings.Contains(text, "tariff.expired") {
		t.Errorf("add late: %s", text)
	}
	all := f.Events()
	if last := all[len(all)-1]; last.Type != "tariff.expired" || time.Since(last.Time) < 2*time.Minute {
		t.Errorf("the late one is not behind the head: %+v", last)
	}
	_, text := call("GET", "events", "")
	dec := json.NewDecoder(strings.NewReader(text))
	for _, want := range all {
		var got Event
		if err := dec.Decode(&got); err != nil || got.ID != want.ID || got.Type != want.Type || !got.Time.Equal(want.Time) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if _, text := call("POST", "faults", "429=3x:30s,keep=9\n"); text != "429=3x:30s,keep=9\n" || f.Faults().Keep != 9 {
		t.Errorf("faults: %s", text)
	}
	if status, text := call("POST", "faults", "nonsense"); status != 400 || !strings.Contains(text, "no fault is called") {
		t.Errorf("bad faults: %d %s", status, text)
	}
	if _, text := call("GET", "faults", ""); text != "429=3x:30s,keep=9\n" {
		t.Errorf("faults: %s", text)
	}
	if call("POST", "faults", ""); f.Faults() != (Faults{}) {
		t.Errorf("faults not cleared: %s", f.Faults())
	}
	var stats Stats
	_, text = call("GET", "stats", "")
	if err := json.Unmarshal([]byte(text), &stats); err != nil || stats.Events != 6 || stats.Requests != 0 {
		t.Errorf("stats %s, %v", text, err)
	}
	for path, want := range map[string]int{"events?n=0": 400, "events?n=100001": 400, "events?late=-1s": 400, "nothing": 404} {
		if status, _ := call("POST", path, ""); status != want {
			t.Errorf("POST %s: %d", path, status)
		}
	}
}
