package admin

import (
	"sync"
	"time"

	"tidings/event"
)

// Live gathers from notices what the store does not keep: how each source and sink does in this run. Give its Notify to
// poller, dispatch and store. It holds one entry for each name of the topology and takes no other names in.
type Live struct {
	mu      sync.Mutex // guards both
	sources map[string]*SourceLive
	sinks   map[string]string // the error of the last attempt; empty when that succeeded
}

// SourceLive is a source in this run.
type SourceLive struct {
	Health      event.SourceHealth // empty before the first poll has ended
	LastSuccess time.Time
	NextPoll    time.Time
	Error       string // of the last poll; empty when it went well
	Listed      uint64 // by polls that have ended
	New         uint64
}

// NewLive makes entries for the sources and sinks of t.
func NewLive(t event.Topology) *Live {
	l := &Live{sources: map[string]*SourceLive{}, sinks: map[string]string{}}
	for _, s := range t.Sources {
		l.sources[s.Name] = new(SourceLive)
	}
	for _, s := range t.Sinks {
		l.sinks[s.Name] = ""
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

// Sink returns the error of a sink's last attempt, empty when that succeeded; false for a name that is not in the topology.
func (l *Live) Sink(name string) (failure string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	failure, ok = l.sinks[name]
	return failure, ok
}

// Notify takes a notice in.
func (l *Live) Notify(n event.Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch n := n.(type) {
	case event.Polled:
		if s, ok := l.sources[n.Source]; ok {
			s.Health, s.Error = event.SourceOK, ""
			s.LastSuccess, s.NextPoll = n.At, n.Next
			s.Listed += uint64(n.Listed)
		}
	case event.PollFailed:
		if s, ok := l.sources[n.Source]; ok {
			s.Health, s.Error, s.NextPoll = n.Health, oneLine(n.Err), n.Next
			s.Listed += uint64(n.Listed)
		}
	case event.TakenIn:
		if s, ok := l.sources[n.Source]; ok {
			s.New += uint64(len(n.Events))
		}
	case event.Attempted:
		if _, ok := l.sinks[n.Sink]; ok {
			l.sinks[n.Sink] = n.Reason
		}
	}
}
