package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"tidings/event"
)

// monitored is a Web over a fake store with two sources and two sinks, served by a real server.
type monitored struct {
	*Web
	store *fakeStore
	live  *Live
	url   string
	why   error // what Healthy says
}

func monitor(t *testing.T) *monitored {
	t.Helper()
	topology := event.Topology{
		Sources: []event.SourceSpec{{Name: "flatpeak"}, {Name: "stripe"}},
		Sinks:   []event.SinkSpec{{Name: "app"}, {Name: "archive"}},
	}
	m := &monitored{live: NewLive(topology), store: &fakeStore{
		sources: []event.SourceStats{{Name: "flatpeak"}, {Name: "stripe"}, {Name: "gone", Removed: true}},
		sinks:   []event.SinkStats{{Name: "app"}, {Name: "archive"}, {Name: "gone", Frozen: true, Owed: 3}},
	}}
	m.Web = &Web{
		Server: &Server{Store: m.store, Live: m.live, Version: "1.2.3"}, Metrics: NewMetrics(topology),
		Healthy: func(context.Context) error { return m.why }, Listen: "127.0.0.1:0",
	}
	l, err := ListenTCP(t.Context(), m.Listen, "web.listen")
	if err != nil {
		t.Fatal(err)
	}
	m.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *monitored) notify(n event.Notice) {
	m.live.Notify(n)
	m.Metrics.Notify(n)
}

func (m *monitored) get(t *testing.T, path string) (status int, body []byte) {
	t.Helper()
	resp, err := http.Get(m.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// scrape returns the metrics by name.
func (m *monitored) scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	status, body := m.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// series lists our series as name{label="value",...} with their values; a histogram is its count.
func series(families map[string]*dto.MetricFamily) map[string]float64 {
	all := map[string]float64{}
	for name, family := range families {
		if !strings.HasPrefix(name, "tidings_") {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			id := name
			if labels != nil {
				id += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				all[id] = m.Counter.GetValue()
			case m.Gauge != nil:
				all[id] = m.Gauge.GetValue()
			case m.Histogram != nil:
				all[id] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return all
}

// Everything that is told and read shows, and nothing else changes.
func TestMetricsSayWhatHappened(t *testing.T) {
	m := monitor(t)
	before := series(m.scrape(t))
	for id, value := range before {
		switch {
		case value == 0, strings.Contains(id, "build_info"), strings.Contains(id, "store_up"), strings.Contains(id, "lag_seconds"):
		case strings.Contains(id, `"starting"`), strings.Contains(id, `state="up"`):
		default:
			t.Errorf("%s begins at %v", id, value)
		}
	}
	now := time.Now()
	m.notify(event.Polled{Source: "flatpeak", At: now.Add(-90 * time.Second), Listed: 100, New: 7, Filtered: 3, Repeated: 90})
	m.notify(event.TakenIn{Source: "flatpeak", Events: make([]event.Event, 7)})
	m.notify(event.PollFailed{Source: "stripe", Health: event.SourceRefused, Failures: 4, Err: errors.New("401"), Listed: 10, Filtered: 1, Repeated: 2})
	m.notify(event.SetAside{Source: "flatpeak"})
	m.notify(event.SetAside{Sink: "app"})
	m.notify(event.GapFound{Gap: event.Gap{Source: "flatpeak", Certain: true}})
	m.notify(event.GapFound{Gap: event.Gap{Source: "flatpeak"}})
	m.notify(event.Attempted{Sink: "app", Outcome: event.Delivered, Took: time.Second})
	m.notify(event.Attempted{Sink: "app", Outcome: event.Retry})
	m.notify(event.Attempted{Sink: "app", Outcome: event.Dead})
	m.notify(event.Written{Took: time.Millisecond})
	m.notify(event.StoreTrouble{})
	m.notify(event.Compacted{})
	m.store.sources[0].Gaps = []event.Gap{{Found: time.Unix(1000, 0)}, {Found: time.Unix(2000, 0)}}
	m.store.sinks[0] = event.SinkStats{Name: "app", State: event.SinkState{Health: event.Down}, Owed: 9, Oldest: now.Add(-time.Hour), Retrying: 2, InFlight: 1, Dead: 5}
	m.store.stats = event.StoreStats{Size: 30, Used: 20, Free: 40, Events: 8, IDs: 11, Full: "it is full", Limit: event.LimitSize, Clock: "it is 1970"}
	m.Server.Position = func([]byte) Standing { return Standing{Position: new(time.Unix(3000, 500e6))} }

	want := map[string]float64{
		`tidings_source_polls_total{outcome="ok",source="flatpeak"}`:        1,
		`tidings_source_polls_total{outcome="refused",source="stripe"}`:     1,
		`tidings_source_events_listed_total{source="flatpeak"}`:             100,
		`tidings_source_events_listed_total{source="stripe"}`:               10,
		`tidings_source_events_new_total{source="flatpeak"}`:                7,
		`tidings_source_events_filtered_total{source="flatpeak"}`:           3,
		`tidings_source_events_filtered_total{source="stripe"}`:             1,
		`tidings_source_events_repeated_total{source="flatpeak"}`:           90,
		`tidings_source_events_repeated_total{source="stripe"}`:             2,
		`tidings_source_events_set_aside_total{source="flatpeak"}`:          1,
		`tidings_source_gaps_total{certainty="certain",source="flatpeak"}`:  1,
		`tidings_source_gaps_total{certainty="possible",source="flatpeak"}`: 1,
		`tidings_source_consecutive_failures{source="stripe"}`:              4,
		`tidings_source_state{source="flatpeak",state="ok"}`:                1,
		`tidings_source_state{source="flatpeak",state="starting"}`:          0,
		`tidings_source_state{source="stripe",state="refused"}`:             1,
		`tidings_source_state{source="stripe",state="starting"}`:            0,
		`tidings_source_last_gap_timestamp_seconds{source="flatpeak"}`:      2000,
		`tidings_source_newest_event_timestamp_seconds{source="flatpeak"}`:  3000.5,
		`tidings_source_newest_event_timestamp_seconds{source="stripe"}`:    3000.5,
		`tidings_source_last_success_timestamp_seconds{source="flatpeak"}`:  float64(now.Add(-90*time.Second).UnixMilli()) / 1000,
		`tidings_sink_attempts_total{outcome="delivered",sink="app"}`:       1,
		`tidings_sink_attempts_total{outcome="retry",sink="app"}`:           1,
		`tidings_sink_attempts_total{outcome="dead",sink="app"}`:            1,
		`tidings_sink_attempt_duration_seconds{sink="app"}`:                 3,
		`tidings_sink_state{sink="app",state="up"}`:                         0,
		`tidings_sink_state{sink="app",state="down"}`:                       1,
		`tidings_sink_owed_deliveries{sink="app"}`:                          9,
		`tidings_sink_retrying_deliveries{sink="app"}`:                      2,
		`tidings_sink_in_flight_deliveries{sink="app"}`:                     1,
		`tidings_sink_dead_letters{sink="app"}`:                             5,
		`tidings_store_size_bytes`:                                          30,
		`tidings_store_used_bytes`:                                          20,
		`tidings_store_disk_free_bytes`:                                     40,
		`tidings_store_events`:                                              8,
		`tidings_store_remembered_ids`:                                      11,
		`tidings_store_commit_duration_seconds`:                             1,
		`tidings_store_unknown_outcomes_total`:                              1,
		`tidings_store_compactions_total`:                                   1,
		`tidings_store_records_set_aside_total`:                             1,
		`tidings_polling_paused{reason="max_size"}`:                         1,
		`tidings_clock_doubted`:                                             1,
	}
	got := series(m.scrape(t))
	for id, age := range map[string]time.Duration{
		`tidings_source_lag_seconds{source="flatpeak"}`:    90 * time.Second,
		`tidings_source_lag_seconds{source="stripe"}`:      0,
		`tidings_sink_oldest_owed_age_seconds{sink="app"}`: time.Hour,
	} {
		if off := got[id] - age.Seconds(); off < 0 || off > 60 {
			t.Errorf("%s is %v, and it has been %v", id, got[id], age)
		}
		delete(got, id)
	}
	for id, value := range got {
		expected, ok := want[id]
		if !ok {
			expected = before[id]
		}
		if value != expected {
			t.Errorf("%s is %v, want %v", id, value, expected)
		}
		delete(want, id)
	}
	for id := range want {
		t.Errorf("%s is missing", id)
	}
}

// What comes from outside, in any number, makes no series: names that are not configured, ids, types, reasons.
func TestMetricsAreBounded(t *testing.T) {
	m := monitor(t)
	before := slices.Sorted(maps.Keys(series(m.scrape(t))))
	for i := range 1000 {
		name := fmt.Sprint("invented", i)
		m.notify(event.Polled{Source: name})
		m.notify(event.PollFailed{Source: "flatpeak", Health: event.SourceHealth(name), Err: errors.New(name)})
		m.notify(event.TakenIn{Source: "flatpeak", Events: []event.Event{{Source: name, ID: name, Type: name}}})
		m.notify(event.SetAside{Source: name, Sink: name, What: name, Why: name})
		m.notify(event.GapFound{Gap: event.Gap{Source: name, Why: name}})
		m.notify(event.Attempted{Sink: "app", Source: name, ID: name, Type: name, Reason: name, Outcome: event.Outcome(i + 10)})
		m.notify(event.SinkChanged{Sink: name, Reason: name})
		m.store.sources = append(m.store.sources, event.SourceStats{Name: name})
		m.store.sinks = append(m.store.sinks, event.SinkStats{Name: name, Owed: 1})
	}
	if after := slices.Sorted(maps.Keys(series(m.scrape(t)))); !slices.Equal(before, after) {
		t.Errorf("there were %d series and are %d", len(before), len(after))
	}
}

// A health that metrics don't know would be counted nowhere.
func TestMetricsKnowEveryHealth(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../event/notice.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []event.SourceHealth
	for node := range ast.Preorder(file) {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "SourceHealth" {
			word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, event.SourceHealth(word))
		}
	}
	if !slices.Equal(declared, sourceHealths) {
		t.Errorf("event declares %q, and metrics know %q", declared, sourceHealths)
	}
	for i, o := range outcomes {
		if int(o) != i+1 || event.Outcome(len(outcomes)+1).String() != "unknown" {
			t.Errorf("metrics don't know every outcome: %v", outcomes)
		}
	}
	for i, h := range sinkHealths {
		if int(h) != i || event.Health(len(sinkHealths)).String() != "unknown" {
			t.Errorf("metrics don't know every health of a sink: %v", sinkHealths)
		}
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	m := monitor(t)
	_, body := m.get(t, "/metrics")
	problems, err := promlint.New(bytes.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families := m.scrape(t)
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// Scrapes go on while things happen, and while the store does not answer.
func TestScrapesOfAStoreThatFails(t *testing.T) {
	m := monitor(t)
	m.notify(event.StoreTrouble{})
	m.store.err = errors.New("the disk is gone")
	got := series(m.scrape(t))
	if up, ok := got["tidings_store_up"]; !ok || up != 0 {
		t.Errorf("tidings_store_up is %v", up)
	}
	if got["tidings_store_unknown_outcomes_total"] != 1 {
		t.Error("the counters are missing")
	}
	if _, ok := got["tidings_store_size_bytes"]; ok {
		t.Error("a size is told that nobody knows")
	}
}
