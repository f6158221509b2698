package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tidings/event"
)

// Status is the document that `tidings status --json` prints: how every source, every sink and the store do. Times are in
// UTC, null where there is none; durations are seconds.
type Status struct {
	OK      bool                    `json:"ok"`
	Message string                  `json:"message"` // what is wrong, each thing named; or that all is well
	Sources map[string]SourceStatus `json:"sources"`
	Sinks   map[string]SinkStatus   `json:"sinks"`
	Store   event.StoreStats        `json:"store"`
}

// SourceStatus is a source's part of Status. What a running daemon alone knows is empty without one.
type SourceStatus struct {
	State       string     `json:"state"`        // an event.SourceHealth, StateStarting before the first poll has ended, or StateStopped
	LastSuccess *time.Time `json:"last_success"` // the end of the last poll that went well in this run
	NextPoll    *time.Time `json:"next_poll"`
	Standing
	Lag    *float64 `json:"lag"`    // seconds since the source was last known caught up
	Error  string   `json:"error"`  // of the last poll; empty when that went well
	Listed uint64   `json:"listed"` // by polls that have ended in this run, repeats included
	New    uint64   `json:"new"`    // in this run
	Gaps   int      `json:"gaps"`   // ever
}

// Standing is where a source, or one of its feeds, stands in its API's list, as far as the store knows.
type Standing struct {
	Position *time.Time          `json:"position"`          // time of the newest event that was seen
	LastID   string              `json:"last_id,omitempty"` // of that event, shortened
	Cursor   string              `json:"cursor,omitempty"`  // where the list goes on, where its API gives such a thing; shortened
	Walking  bool                `json:"walking,omitempty"` // a long way back is being caught up
	Lost     bool                `json:"lost,omitempty"`    // the API no longer knew the place, and it was not found again yet
	Feeds    map[string]Standing `json:"feeds,omitempty"`   // where there are several
}

// SinkStatus is a sink's part of Status.
type SinkStatus struct {
	State    string     `json:"state"` // an event.Health, or StateRemoved
	Owed     uint64     `json:"owed"`
	Oldest   *time.Time `json:"oldest"`   // when the oldest owed event was taken in
	Retrying int        `json:"retrying"` // failed at least once and due again
	Dead     int        `json:"dead"`
	Error    string     `json:"error"` // why it is down or paused, or what to do where it is removed; else of the last failed attempt while deliveries are retried

	HeldUntil *time.Time `json:"held_until"` // it asked for no attempt before; null when it does not
}

// The states that are neither an event.SourceHealth nor an event.Health.
const (
	StateStarting = "starting"
	StateStopped  = "stopped" // no daemon runs
	StateRemoved  = "removed" // a sink that is no longer configured: what it is owed waits for its name to come back
)

// Status reads how everything does now.
func (s *Server) Status() (Status, error) {
	status, _, err := s.examine()
	return status, err
}

// examine builds the status and lists what is wrong with it, the store first, then sources and sinks by name.
func (s *Server) examine() (Status, []problem, error) {
	stats, err := s.Store.Stats()
	if err != nil {
		return Status{}, nil, fmt.Errorf("reading the store's figures: %w", err)
	}
	sources, err := s.Store.Sources()
	if err != nil {
		return Status{}, nil, fmt.Errorf("reading the sources from the store: %w", err)
	}
	sinks, err := s.Store.Sinks()
	if err != nil {
		return Status{}, nil, fmt.Errorf("reading the sinks from the store: %w", err)
	}
	slices.SortFunc(sources, func(a, b event.SourceStats) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(sinks, func(a, b event.SinkStats) int { return strings.Compare(a.Name, b.Name) })

	now := time.Now()
	status := Status{Sources: map[string]SourceStatus{}, Sinks: map[string]SinkStatus{}, Store: stats}
	var problems []problem
	if s.Live == nil {
		problems = append(problems, problem{LevelCritical, "the daemon is not running"})
	}
	if stats.Full != "" {
		problems = append(problems, problem{LevelCritical, "nothing is taken in: " + stats.Full + whatFills(sinks)})
	}
	if stats.Clock != "" {
		problems = append(problems, problem{LevelWarning, "nothing expires: " + stats.Clock})
	}
	for _, st := range sources {
		entry, configured := s.source(st, now)
		if !configured {
			continue
		}
		status.Sources[st.Name] = entry
		problems = append(problems, sourceProblems(st, entry, now)...)
	}
	for _, st := range sinks {
		entry := s.sink(st, now)
		status.Sinks[st.Name] = entry
		problems = append(problems, sinkProblems(st.Name, entry)...)
	}
	status.OK = len(problems) == 0
	status.Message = message(problems)
	return status, problems, nil
}

// source is the status of one source; false if it is no longer configured, as far as is known.
func (s *Server) source(st event.SourceStats, now time.Time) (SourceStatus, bool) {
	if st.Removed {
		return SourceStatus{}, false
	}
	entry := SourceStatus{State: StateStopped, Gaps: st.GapCount}
	if s.Position != nil {
		entry.Standing = s.Position(st.Position)
	}
	if s.Live == nil {
		return entry, true
	}
	live, ok := s.Live.Source(st.Name)
	if !ok {
		return SourceStatus{}, false
	}
	entry.State = StateStarting
	if live.Health != "" {
		entry.State = string(live.Health)
	}
	entry.LastSuccess, entry.NextPoll = instant(live.LastSuccess), instant(live.NextPoll)
	if !live.LastSuccess.IsZero() {
		entry.Lag = new(max(0, now.Sub(live.LastSuccess).Round(time.Millisecond).Seconds()))
	}
	entry.Error, entry.Listed, entry.New = live.Error, live.Listed, live.New
	return entry, true
}

func (s *Server) sink(st event.SinkStats, now time.Time) SinkStatus {
	entry := SinkStatus{
		State: st.State.Health.String(), Owed: st.Owed, Oldest: instant(st.Oldest),
		Retrying: st.Retrying, Dead: st.Dead, Error: st.State.Reason,
	}
	if s.Live != nil && st.State.Health == event.Up {
		entry.Error = ""
		if st.Retrying > 0 {
			entry.Error, _ = s.Live.Sink(st.Name)
		}
	}
	if st.State.HeldUntil.After(now) {
		entry.HeldUntil = instant(st.State.HeldUntil)
	}
	if st.Frozen {
		entry.State, entry.Error, entry.HeldUntil = StateRemoved, "", nil
		if st.Owed > 0 {
			entry.Error = "it is no longer configured: what it is owed is kept until a sink of this name takes it"
		}
	}
	return entry
}

// Line is the status in one short line, for systemd's STATUS=.
func (st Status) Line() string {
	var well, owed, dead int
	for source := range maps.Values(st.Sources) {
		if source.State == string(event.SourceOK) {
			well++
		}
	}
	for sink := range maps.Values(st.Sinks) {
		owed += int(sink.Owed)
		dead += sink.Dead
	}
	line := fmt.Sprintf("%d/%d sources ok, %d owed, %d dead", well, len(st.Sources), owed, dead)
	if !st.OK {
		line += "; " + st.Message
	}
	return line
}

// instant gives a time its form in JSON: UTC, milliseconds, nil for none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Truncate(time.Millisecond))
}
