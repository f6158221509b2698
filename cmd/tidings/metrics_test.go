package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/simulator"
)

// addToConfig appends to the configuration.
func (s *site) addToConfig(text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.path("config.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteString(text + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// startMonitored starts the daemon with a web listener on a free port, and returns where that is.
func (s *site) startMonitored() (*daemon, string) {
	s.t.Helper()
	s.addToConfig(`web: {listen: "127.0.0.1:0"}`)
	d := s.start()
	listens := regexp.MustCompile(`listen=(127\.0\.0\.1:\d+)`)
	s.eventually("the daemon to listen", func() bool { return listens.MatchString(d.log.String()) })
	return d, "http://" + listens.FindStringSubmatch(d.log.String())[1]
}

func (s *site) get(url string) (status int, body string) {
	s.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metrics scrapes what is ours, by series.
func (s *site) metrics(url string) map[string]float64 {
	s.t.Helper()
	status, body := s.get(url + "/metrics")
	if status != http.StatusOK {
		s.t.Fatalf("%d: %s", status, body)
	}
	found := map[string]float64{}
	for line := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, "tidings_") {
			found[name] = number
		}
	}
	return found
}

// metric waits until a series has a value that passes.
func (s *site) metric(url, series string, passes func(float64) bool) {
	s.t.Helper()
	var last float64
	s.eventually(series, func() bool {
		value, ok := s.metrics(url)[series]
		if !ok {
			s.t.Fatalf("there is no %s", series)
		}
		last = value
		return passes(last)
	})
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

// What is polled, delivered, given up on and missing shows as metrics, and the daemon says that it is well.
func TestMetricsMove(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Backfill(300, time.Hour)
	poison := s.api.Events()[5].ID
	s.receiver.RefuseIDs(poison)
	s.configure("every: 100ms\nstart: earliest\noverlap: 0s", `
archive:
  file: {path: DIR/events.jsonl}
app:
  http: {url: APP}
  retry: {initial: 50ms, max: 100ms, give_up_after: 1s}
gone:
  http: {url: "http://127.0.0.1:1"}
  retry: {initial: 50ms, max: 100ms}`)
	d, url := s.startMonitored()
	s.metric(url, `tidings_source_events_new_total{source="flatpeak"}`, is(300))
	s.metric(url, `tidings_sink_attempts_total{outcome="delivered",sink="archive"}`, is(300))
	s.metric(url, `tidings_sink_attempts_total{outcome="delivered",sink="app"}`, is(299))
	s.metric(url, `tidings_sink_dead_letters{sink="app"}`, is(1))
	s.metric(url, `tidings_sink_attempts_total{outcome="dead",sink="app"}`, is(1))
	s.metric(url, `tidings_sink_state{sink="gone",state="down"}`, is(1))
	s.metric(url, `tidings_source_polls_total{outcome="ok",source="flatpeak"}`, func(v float64) bool { return v >= 2 })
	got := s.metrics(url)
	for series, want := range map[string]float64{
		`tidings_sink_owed_deliveries{sink="gone"}`:                    300,
		`tidings_sink_owed_deliveries{sink="archive"}`:                 0,
		`tidings_store_events`:                                         300,
		`tidings_store_remembered_ids`:                                 300,
		`tidings_source_state{source="flatpeak",state="ok"}`:           1,
		`tidings_source_last_gap_timestamp_seconds{source="flatpeak"}`: 0,
		`tidings_store_up`:                                             1,
		`tidings_polling_paused{reason="max_size"}`:                    0,
		`tidings_polling_paused{reason="min_free"}`:                    0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v, want %v", series, v, want)
		}
	}
	for _, series := range []string{
		"tidings_store_size_bytes", "tidings_store_used_bytes", "tidings_store_disk_free_bytes", "tidings_store_commit_duration_seconds_count",
		`tidings_sink_attempt_duration_seconds_count{sink="app"}`, `tidings_sink_oldest_owed_age_seconds{sink="gone"}`,
		`tidings_source_newest_event_timestamp_seconds{source="flatpeak"}`, `tidings_source_last_success_timestamp_seconds{source="flatpeak"}`,
	} {
		if got[series] <= 0 {
			t.Errorf("%s is %v", series, got[series])
		}
	}
	for path, want := range map[string]string{"/healthz": "healthy\n", "/readyz": "ready\n"} {
		if status, body := s.get(url + path); status != http.StatusOK || body != want {
			t.Errorf("%s answers %d %q", path, status, body)
		}
	}

	if code, _, stderr := s.tidings("store", "compact", "--yes"); code != 0 {
		t.Errorf("store compact exits with %d: %s", code, stderr)
	}
	s.metric(url, "tidings_store_compactions_total", is(1))

	// An API that lists no more what was there at the last poll, nor anything older.
	s.api.SetFaults(simulator.Faults{Keep: 5})
	s.api.Add(40)
	s.metric(url, `tidings_source_gaps_total{certainty="possible",source="flatpeak"}`, func(v float64) bool { return v >= 1 })
	s.metric(url, `tidings_source_last_gap_timestamp_seconds{source="flatpeak"}`, func(v float64) bool { return v > 0 })
	s.api.SetFaults(simulator.Faults{ServerError: simulator.Fault{Share: 1}})
	s.metric(url, `tidings_source_state{source="flatpeak",state="failing"}`, is(1))
	s.metric(url, `tidings_source_consecutive_failures{source="flatpeak"}`, func(v float64) bool { return v >= 1 })
	if status, body := s.get(url + "/readyz"); status != http.StatusOK {
		t.Errorf("an API that fails makes the daemon %d %q", status, body)
	}
	d.stop()
	if _, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		t.Error("the port is still open")
	}
}

// largeAPI lists large events, newest first, each of a type of its own.
type largeAPI struct {
	mu     sync.Mutex
	events []json.RawMessage
	quiet  atomic.Bool // nothing new happens
}

func (a *largeAPI) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := len(a.events); !a.quiet.Load() && len(a.events) < n+10; {
		kind := "invented"
		if len(a.events)%10 == 9 {
			kind = "other"
		}
		a.events = append(a.events, json.RawMessage(fmt.Sprintf(`{"id":"e%d","type":"%s.%[1]d","created":%[3]q,"filler":"%[4]s"}`,
			len(a.events), kind, time.Now().UTC().Format(time.RFC3339), strings.Repeat("x", 300_000))))
	}
	page := slices.Clone(a.events[max(0, len(a.events)-12):])
	slices.Reverse(page)
	_ = json.NewEncoder(w).Encode(page)
}

// A store that reaches max_size shows as a metric and makes the daemon unready, until there is room again; and types that the API
// invents make no series.
func TestMetricsOfAFullStore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	api := &largeAPI{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	var works atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil || !works.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(app.Close)
	if err := os.WriteFile(s.path("config.yaml"), fmt.Appendf(nil, `
store: {keep: 0s, max_size: 16MiB}
sources:
  large:
    http: {url: %q, id: id, type: type, time: created, position: head_walk}
    every: 100ms
    start: earliest
    events: ["invented.*"]
sinks:
  app:
    http: {url: %q}
    retry: {initial: 50ms, max: 100ms}
`, server.URL, app.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	d, url := s.startMonitored()
	before := slices.Sorted(maps.Keys(s.metrics(url)))
	s.metric(url, `tidings_polling_paused{reason="max_size"}`, is(1))
	s.metric(url, `tidings_source_state{source="large",state="blocked"}`, is(1))
	s.metric(url, `tidings_source_polls_total{outcome="blocked",source="large"}`, func(v float64) bool { return v >= 1 })
	got := s.metrics(url)
	if used := got["tidings_store_used_bytes"]; used <= 16<<20 {
		t.Errorf("polling pauses with %v bytes in use", used)
	}
	taken, filtered := got[`tidings_source_events_new_total{source="large"}`], got[`tidings_source_events_filtered_total{source="large"}`]
	if taken == 0 || taken != 9*filtered || taken != got["tidings_store_events"] {
		t.Errorf("%v events were taken in and %v filtered, one in ten; the store has %v", taken, filtered, got["tidings_store_events"])
	}
	if status, body := s.get(url + "/readyz"); status != http.StatusServiceUnavailable || !strings.HasPrefix(body, "not ready: polling pauses: it uses ") {
		t.Errorf("/readyz answers %d %q", status, body)
	}
	if status, body := s.get(url + "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d %q", status, body)
	}
	if !strings.Contains(d.log.String(), "nothing is taken in") {
		t.Error("the log does not tell of it")
	}
	if code, out, _ := s.tidings("status", "--check"); code != 2 || !strings.Contains(out, "max_size") {
		t.Errorf("the status does not tell of it: %d %s", code, out)
	}

	api.quiet.Store(true)
	works.Store(true)
	s.metric(url, `tidings_sink_owed_deliveries{sink="app"}`, is(0))
	s.metric(url, `tidings_polling_paused{reason="max_size"}`, is(0))
	s.metric(url, `tidings_source_state{source="large",state="ok"}`, is(1))
	if status, body := s.get(url + "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz answers %d %q", status, body)
	}
	if after := slices.Sorted(maps.Keys(s.metrics(url))); !slices.Equal(before, after) {
		t.Errorf("there were %d series and are %d", len(before), len(after))
	}
	d.stop()
}

// Being asked makes an idle daemon write nothing.
func TestScrapesWriteNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Backfill(100, time.Hour)
	s.configure("every: 500ms\njitter: 0\nstart: earliest", "archive:\n  file: {path: DIR/events.jsonl}")
	d, url := s.startMonitored()
	s.metric(url, `tidings_sink_attempts_total{outcome="delivered",sink="archive"}`, is(100))
	s.settled(d)
	written := d.written()
	for range 50 {
		s.metrics(url)
		s.get(url + "/healthz")
		s.get(url + "/readyz")
	}
	if now := d.written(); now != written {
		t.Errorf("%d bytes were written for monitors", now-written)
	}
	d.stop()
}

func TestPortInUse(t *testing.T) {
	s := newSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.configure("", "archive:\n  file: {path: DIR/events.jsonl}")
	s.addToConfig(fmt.Sprintf("web: {listen: %q}", l.Addr()))
	code, _, stderr := s.tidings("run")
	want := fmt.Sprintf("tidings: can't listen on %s (web.listen): another program listens there; stop that one, or take another port\n", l.Addr())
	if code != exitFailed || stderr != want {
		t.Errorf("it exits with %d and says %q", code, stderr)
	}
	if code, out, _ := s.tidings("check"); code != 0 || !strings.Contains(out, fmt.Sprintf("Metrics are at http://%s/metrics.", l.Addr())) {
		t.Errorf("check exits with %d and says %q", code, out)
	}
	if _, err := os.Stat(s.path("tidings-data/control.sock")); err == nil {
		t.Error("the control socket is left behind")
	}
}
