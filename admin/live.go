package admin

import (
	"sync"
	"time"

	"tidings/event"
)

// Live gathers from notices what the store does not keep: how each source and sink does in this run. Give its Notify to
// poller, dispatch and store. It holds one entry for each name of the topology and takes no other names in.
type Live struct {
	mu      sync.Mutex
	sources map[string]*SourceLive
	sinks   map[string]*SinkLive
}

// SourceLive is a source in this run.
type SourceLive struct {
	Health      event.SourceHealth // empty before the first poll has ended
	LastSuccess time.Time
	NextPoll    time.Time
	Error       string // of the last poll; empty when it went well
	Polls       uint64 // that went well
	Failures    uint64 // polls that did not
	Listed      uint64
	New         uint64
	Repeated    uint64
	History     int // listed by the first poll, but from before the start
}

// SinkLive is a sink in this run.
type SinkLive struct {
	Error     string // of the last failed attempt; empty when one succeeded since
	Attempted uint64
	Delivered uint64
	Retried   uint64 // attempts that failed and are made again
	Dead      uint64
}

// NewLive makes entries for the sources and sinks of t.
func NewLive(t event.Topology) *Live {
	l := &Live{sources: map[string]*SourceLive{}, sinks: map[string]*SinkLive{}}
	for _, s := range t.Sources {
		l.sources[s.Name] = new(SourceLive)
	}
	for _, s := range t.Sinks {
		l.sinks[s.Name] = new(SinkLive)
	}
	return l
}

// Source returns a copy of a source's entry; false for a name that is not in the topology.
func (l *Live) Source(name string) (SourceLive, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.sources[name]; ok {
		return *s, true
	}
	return SourceLive{}, false
}

// Sink returns a copy of a sink's entry; false for a name that is not in the topology.
func (l *Live) Sink(name string) (SinkLive, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.sinks[name]; ok {
		return *s, true
	}
	return SinkLive{}, false
}

// Notify takes a notice in.
func (l *Live) Notify(n event.Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch n := n.(type) {
	case event.Polled:
		s, ok := l.sources[n.Source]
		if !ok {
			return
		}
		s.Health, s.Error = event.SourceOK, ""
		s.LastSuccess, s.NextPoll = n.At, n.Next
		s.Polls++
		s.Listed += uint64(n.Listed)
		s.New += uint64(n.New)
		s.Repeated += uint64(n.Repeated)
		s.History += n.History
	case event.PollFailed:
		s, ok := l.sources[n.Source]
		if !ok {
			return
		}
		s.Health, s.Error, s.NextPoll = n.Health, oneLine(n.Err), n.Next
		s.Failures++
	case event.Attempted:
		s, ok := l.sinks[n.Sink]
		if !ok {
			return
		}
		s.Attempted++
		s.Error = n.Reason
		switch n.Outcome {
		case event.Delivered:
			s.Delivered++
		case event.Retry:
			s.Retried++
		case event.Dead:
			s.Dead++
		}
	}
}
