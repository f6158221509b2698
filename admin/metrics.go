package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"tidings/event"
)

// Metrics counts for Prometheus what notices tell. Give its Notify to poller, dispatch and store. What labels say is known at the
// start: names of the topology, and words of ours. Whatever an API or a sink answers makes no new series, and every series is
// there from the start, at zero, so that its first change is seen as one.
type Metrics struct {
	sources map[string]sourceCounts
	sinks   map[string]sinkCounts

	written                         prometheus.Histogram
	reopened, compacted, unreadable prometheus.Counter
	all                             []prometheus.Collector
}

type sourceCounts struct {
	polls                                       map[event.SourceHealth]prometheus.Counter // by what they made of the source
	listed, taken, filtered, repeated, setAside prometheus.Counter
	failures                                    prometheus.Gauge
	certain, possible                           prometheus.Counter // gaps
}

type sinkCounts struct {
	attempts map[event.Outcome]prometheus.Counter
	took     prometheus.Observer
}

// The states of a source and a sink, and what a poll and an attempt may come to: all that the labels state and outcome say.
var (
	sourceHealths = []event.SourceHealth{event.SourceOK, event.SourceFailing, event.SourceRefused, event.SourceLimited, event.SourceBlocked}
	sinkHealths   = []event.Health{event.Up, event.Down, event.Paused}
	outcomes      = []event.Outcome{event.Delivered, event.Retry, event.Dead}
)

var (
	attemptBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 300} // a timeout is 15 s by default, at most 1 h
	writeBuckets   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10} // a sync: 0.1 ms on NVMe, 10 ms and more on a hard disk
)

// NewMetrics makes the counters for the sources and sinks of t.
func NewMetrics(t event.Topology) *Metrics {
	m := &Metrics{sources: map[string]sourceCounts{}, sinks: map[string]sinkCounts{}}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidings_" + name, Help: help}, labels)
		m.all = append(m.all, v)
		return v
	}
	counter := func(name, help string) prometheus.Counter { return counters(name, help).WithLabelValues() }

	polls := counters("source_polls_total", "Polls that have ended, by what they made of the source: ok, failing, refused, limited or blocked.", "source", "outcome")
	listed := counters("source_events_listed_total", "Events that the API listed, repeats included.", "source")
	taken := counters("source_events_new_total", "Events that were taken in: durable, and owed to the sinks that want them.", "source")
	filtered := counters("source_events_filtered_total", "New events that the source's filter left out.", "source")
	repeated := counters("source_events_repeated_total", "Listed events that were known already.", "source")
	setAside := counters("source_events_set_aside_total", "Listed items that can't be an event; their bytes are kept.", "source")
	gaps := counters("source_gaps_total", "Gaps found: stretches of events that are (certain), or may be (possible), missing for good.", "source", "certainty")
	failures := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidings_source_consecutive_failures", Help: "Polls in a row that failed; 0 when the last one went well.",
	}, []string{"source"})
	m.all = append(m.all, failures)
	for _, s := range t.Sources {
		c := sourceCounts{
			polls: map[event.SourceHealth]prometheus.Counter{}, listed: listed.WithLabelValues(s.Name), taken: taken.WithLabelValues(s.Name),
			filtered: filtered.WithLabelValues(s.Name), repeated: repeated.WithLabelValues(s.Name), setAside: setAside.WithLabelValues(s.Name),
			failures: failures.WithLabelValues(s.Name),
			certain:  gaps.WithLabelValues(s.Name, "certain"), possible: gaps.WithLabelValues(s.Name, "possible"),
		}
		for _, h := range sourceHealths {
			c.polls[h] = polls.WithLabelValues(s.Name, string(h))
		}
		m.sources[s.Name] = c
	}

	attempts := counters("sink_attempts_total", "Attempts that were settled, by outcome: delivered, retry (it is made again) or dead (given up).", "sink", "outcome")
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidings_sink_attempt_duration_seconds", Help: "How long attempts took, whatever came of them.", Buckets: attemptBuckets,
	}, []string{"sink"})
	m.all = append(m.all, took)
	for _, s := range t.Sinks {
		c := sinkCounts{attempts: map[event.Outcome]prometheus.Counter{}, took: took.WithLabelValues(s.Name)}
		for _, o := range outcomes {
			c.attempts[o] = attempts.WithLabelValues(s.Name, o.String())
		}
		m.sinks[s.Name] = c
	}

	m.written = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tidings_store_commit_duration_seconds", Help: "How long transactions of the store took, the wait for the disk included.", Buckets: writeBuckets,
	})
	m.all = append(m.all, m.written)
	m.reopened = counter("store_unknown_outcomes_total", "Transactions that failed, so that their outcome is unknown: the store then reopens its file, or ends the daemon.")
	m.compacted = counter("store_compactions_total", "Compactions of the store's file.")
	m.unreadable = counter("store_records_set_aside_total", "Stored records that could not be read; their bytes are kept.")
	return m
}

// Notify takes a notice in. A name that is not in the topology is not counted.
func (m *Metrics) Notify(n event.Notice) {
	switch n := n.(type) {
	case event.Polled:
		if c, ok := m.sources[n.Source]; ok {
			c.polled(event.SourceOK, 0, n.Listed, n.Filtered, n.Repeated)
		}
	case event.PollFailed:
		if c, ok := m.sources[n.Source]; ok {
			c.polled(n.Health, n.Failures, n.Listed, n.Filtered, n.Repeated)
		}
	case event.TakenIn:
		if c, ok := m.sources[n.Source]; ok {
			c.taken.Add(float64(len(n.Events)))
		}
	case event.SetAside:
		if c, ok := m.sources[n.Source]; ok {
			c.setAside.Inc()
		} else {
			m.unreadable.Inc()
		}
	case event.GapFound:
		if c, ok := m.sources[n.Gap.Source]; ok && n.Gap.Certain {
			c.certain.Inc()
		} else if ok {
			c.possible.Inc()
		}
	case event.Attempted:
		if c, ok := m.sinks[n.Sink]; ok {
			if attempts, ok := c.attempts[n.Outcome]; ok {
				attempts.Inc()
			}
			c.took.Observe(n.Took.Seconds())
		}
	case event.Written:
		m.written.Observe(n.Took.Seconds())
	case event.StoreTrouble:
		m.reopened.Inc()
	case event.Compacted:
		m.compacted.Inc()
	}
}

func (c sourceCounts) polled(health event.SourceHealth, failures, listed, filtered, repeated int) {
	if polls, ok := c.polls[health]; ok {
		polls.Inc()
	}
	c.failures.Set(float64(failures))
	c.listed.Add(float64(listed))
	c.filtered.Add(float64(filtered))
	c.repeated.Add(float64(repeated))
}
