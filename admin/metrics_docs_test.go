package admin

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"tidings/event"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md anew")

// The table in docs/metrics.md is what is served.
func TestMetricsAreDocumented(t *testing.T) {
	const path, begin, end = "../docs/metrics.md", "<!-- metrics -->\n", "<!-- end -->\n"
	families := monitor(t).scrape(t)
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		family := families[name]
		if !strings.HasPrefix(name, "tidings_") {
			continue
		}
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.SortFunc(labels, func(a, b string) int { // the subject first
			first := func(l string) bool { return l == "`source`" || l == "`sink`" }
			switch {
			case first(a) == first(b):
				return strings.Compare(a, b)
			case first(a):
				return -1
			}
			return 1
		})
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	shown, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if shown != table.String() {
		t.Errorf("the table of %s is not what is served: go test ./admin -run TestMetricsAreDocumented -update", path)
	}
	// What the text around the table names must be there, too.
	for word := range strings.FieldsFuncSeq(before+after, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(word, "_bucket"), "_count"), "_sum")
		if strings.HasPrefix(word, "tidings_") && families[word] == nil && families[name] == nil {
			t.Errorf("%s names %s, which is no metric", path, word)
		}
	}
	for _, m := range regexp.MustCompile(`(tidings_[a-z_]+)\{([a-z]+)=~?"([a-z|]+)"\}`).FindAllStringSubmatch(before+after, -1) {
		for value := range strings.SplitSeq(m[3], "|") {
			label := &dto.LabelPair{Name: &m[2], Value: &value}
			if !slices.ContainsFunc(families[m[1]].GetMetric(), func(s *dto.Metric) bool {
				return slices.ContainsFunc(s.GetLabel(), func(l *dto.LabelPair) bool { return l.String() == label.String() })
			}) {
				t.Errorf("%s selects %s with %s=%q, which there never is", path, m[1], m[2], value)
			}
		}
	}
}

// Reading all gauges of many sources and sinks costs little.
func BenchmarkScrape(b *testing.B) {
	var t event.Topology
	store := &fakeStore{}
	for i := range 20 {
		name := fmt.Sprint("name", i)
		t.Sources = append(t.Sources, event.SourceSpec{Name: name})
		t.Sinks = append(t.Sinks, event.SinkSpec{Name: name})
		store.sources = append(store.sources, event.SourceStats{Name: name})
		store.sinks = append(store.sinks, event.SinkStats{Name: name})
	}
	w := &Web{Server: &Server{Store: store, Live: NewLive(t)}, Metrics: NewMetrics(t)}
	handler := w.metrics()
	for b.Loop() {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
	}
}
