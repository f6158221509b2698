package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/event"
)

// gauges reads at each scrape what status reads: nothing is kept for it, and nothing is done between scrapes.
type gauges struct {
	server *Server
	began  time.Time

	build, up, clock                                        *prometheus.Desc
	size, used, free, events, ids, paused                   *prometheus.Desc
	sourceState, lastSuccess, lag, newest, lastGap          *prometheus.Desc
	sinkState, owed, oldest, retrying, inFlight, deadLetter *prometheus.Desc
}

func newGauges(s *Server) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("tidings_"+name, help, labels, nil)
	}
	return &gauges{
		server: s, began: time.Now(),
		build:  desc("build_info", "1, with the version of the program in its label.", "version"),
		up:     desc("store_up", "1 if the store answered this scrape; without it the gauges that are read from it are missing."),
		clock:  desc("clock_doubted", "1 while the machine's clock can't be right, so that nothing expires."),
		size:   desc("store_size_bytes", "Size of the store's file."),
		used:   desc("store_used_bytes", "What of the store's file is in use; max_size limits this."),
		free:   desc("store_disk_free_bytes", "What the store's disk has free; min_free limits this."),
		events: desc("store_events", "Events in the store, delivered ones that are kept included."),
		ids:    desc("store_remembered_ids", "Event ids that are remembered, so that their events are not taken in again."),
		paused: desc("polling_paused", "1 while polling pauses because the store reached this limit: max_size or min_free.", "reason"),

		sourceState: desc("source_state", "1 for the state that the source is in: starting, ok, failing, refused, limited or blocked; else 0.", "source", "state"),
		lastSuccess: desc("source_last_success_timestamp_seconds", "When the last poll that went well ended; 0 before the first one since the start.", "source"),
		lag:         desc("source_lag_seconds", "How long ago the source was last known to be caught up; before that, how long ago the daemon started.", "source"),
		newest:      desc("source_newest_event_timestamp_seconds", "When the newest event that was seen happened, by the API's word; 0 when that is not known.", "source"),
		lastGap:     desc("source_last_gap_timestamp_seconds", "When the last gap was found, restarts included; 0 when there was none.", "source"),

		sinkState:  desc("sink_state", "1 for the state that the sink is in: up, down or paused; else 0.", "sink", "state"),
		owed:       desc("sink_owed_deliveries", "Deliveries that the sink is owed, retries included and dead letters not.", "sink"),
		oldest:     desc("sink_oldest_owed_age_seconds", "How long ago the oldest event that the sink is owed was taken in; 0 when it is owed none.", "sink"),
		retrying:   desc("sink_retrying_deliveries", "Owed deliveries that failed at least once.", "sink"),
		inFlight:   desc("sink_in_flight_deliveries", "Owed deliveries that are being attempted.", "sink"),
		deadLetter: desc("sink_dead_letters", "Deliveries that were given up and wait for a person.", "sink"),
	}
}

// Describe sends what Collect may make.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.build, g.up, g.clock, g.size, g.used, g.free, g.events, g.ids, g.paused, g.sourceState, g.lastSuccess, g.lag, g.newest, g.lastGap,
		g.sinkState, g.owed, g.oldest, g.retrying, g.inFlight, g.deadLetter,
	} {
		to <- d
	}
}

// Collect reads all gauges. A store that does not answer makes no error: the counters are worth having even then.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	set(g.build, 1, g.server.Version)
	stats, err := g.server.Store.Stats()
	sources, sourcesErr := g.server.Store.Sources()
	sinks, sinksErr := g.server.Store.Sinks()
	if err != nil || sourcesErr != nil || sinksErr != nil {
		set(g.up, 0)
		return
	}
	set(g.up, 1)
	set(g.clock, one(stats.Clock != ""))
	set(g.size, float64(stats.Size))
	set(g.used, float64(stats.Used))
	set(g.free, float64(stats.Free))
	set(g.events, float64(stats.Events))
	set(g.ids, float64(stats.IDs))
	for _, limit := range []string{event.LimitSize, event.LimitFree} {
		set(g.paused, one(stats.Limit == limit), limit)
	}
	now := time.Now()
	for _, st := range sources {
		if entry, configured := g.server.source(st, now); configured {
			g.source(set, st, entry, now)
		}
	}
	for _, st := range sinks {
		if _, configured := g.server.Live.Sink(st.Name); configured {
			g.sink(set, st, now)
		}
	}
}

type setter func(d *prometheus.Desc, value float64, labels ...string)

func (g *gauges) source(set setter, st event.SourceStats, entry SourceStatus, now time.Time) {
	set(g.sourceState, one(entry.State == StateStarting), st.Name, StateStarting)
	for _, h := range sourceHealths {
		set(g.sourceState, one(entry.State == string(h)), st.Name, string(h))
	}
	lag := now.Sub(g.began)
	if entry.LastSuccess != nil {
		lag = now.Sub(*entry.LastSuccess)
	}
	set(g.lastSuccess, seconds(entry.LastSuccess), st.Name)
	set(g.lag, max(0, lag.Seconds()), st.Name)
	set(g.newest, seconds(entry.Position), st.Name)
	var last time.Time
	for _, gap := range st.Gaps {
		if gap.Found.After(last) {
			last = gap.Found
		}
	}
	set(g.lastGap, seconds(instant(last)), st.Name)
}

func (g *gauges) sink(set setter, st event.SinkStats, now time.Time) {
	for _, h := range sinkHealths {
		set(g.sinkState, one(st.State.Health == h), st.Name, h.String())
	}
	var age time.Duration
	if !st.Oldest.IsZero() {
		age = max(0, now.Sub(st.Oldest))
	}
	set(g.owed, float64(st.Owed), st.Name)
	set(g.oldest, age.Seconds(), st.Name)
	set(g.retrying, float64(st.Retrying), st.Name)
	set(g.inFlight, float64(st.InFlight), st.Name)
	set(g.deadLetter, float64(st.Dead), st.Name)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus counts it: seconds since 1970, 0 for none.
func seconds(t *time.Time) float64 {
	if t == nil {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
