package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
)

// probeReport is all that a probe has to tell; it is what --json prints. Times are in UTC.
type probeReport struct {
	Source   string         `json:"source"`
	API      string         `json:"api"`
	At       time.Time      `json:"at"`
	From     string         `json:"from,omitempty"` // the directory of the recording that was polled
	Before   probePosition  `json:"before"`
	Steps    []probeStep    `json:"steps"`
	Events   []probeEvent   `json:"events"`
	Counts   map[string]int `json:"counts"`   // of events, by verdict
	Sinks    map[string]int `json:"sinks"`    // how many of the new events each would get
	Gaps     []event.Gap    `json:"gaps"`     // that would be told
	Complete bool           `json:"complete"` // it went as far as the daemon would
	After    probePosition  `json:"after"`
	Error    string         `json:"error"`  // why the poll failed; empty where it went well
	Health   string         `json:"health"` // of the source after such a poll
	Wait     float64        `json:"wait"`   // seconds for which the API asks to be left alone, beside an error
	Note     string         `json:"note,omitempty"`
	Saved    string         `json:"saved,omitempty"` // the directory of the recording that was made
}

// probePosition is where a source stands.
type probePosition struct {
	Polled bool            `json:"polled"` // false: it is a first run
	Start  string          `json:"start"`  // now, earliest or a time, for a first run
	Stored json.RawMessage `json:"stored"`
	place  poller.Place
	broken error
}

// probeEvent is an event, and what would become of it.
type probeEvent struct {
	Feed    string     `json:"feed,omitempty"`
	Request int        `json:"request,omitempty"` // the step whose answer listed it
	ID      string     `json:"id"`
	Type    string     `json:"type"`
	Time    *time.Time `json:"time"`
	Verdict string     `json:"verdict"`
	Why     string     `json:"why"`
}

// What would become of an event.
const (
	verdictNew        = "new"
	verdictFiltered   = "filtered"   // new, and of a type that the source leaves out
	verdictAside      = "set aside"  // new, and can't be an event
	verdictRemembered = "remembered" // taken in earlier
	verdictHistory    = "history"    // from before the start
	verdictOld        = "old"        // unknown, and too old to be new
	verdictUndecided  = "undecided"  // the poll ended before
)

var verdicts = []string{
	verdictNew, verdictFiltered, verdictAside, verdictRemembered, verdictHistory, verdictOld, verdictUndecided,
}

// positionOf reads a position for the report.
func positionOf(data []byte, start string) probePosition {
	p := probePosition{Polled: data != nil, Stored: json.RawMessage("null"), Start: start}
	if json.Valid(data) {
		p.Stored = data
	}
	p.place, p.broken = poller.Describe(data)
	return p
}

// report tells how a poll went. err is what Poller.Poll returned.
func (p *probe) report(w *watch, st *probeStore, err error) *probeReport {
	r := &probeReport{
		Source: p.Source.Name, API: p.Source.Identity, At: p.At.UTC(), Before: positionOf(p.Position, start(p.Source.Start)),
		Steps: w.steps, Counts: map[string]int{}, Sinks: map[string]int{}, Gaps: st.gaps, Note: p.Note,
		After: positionOf(st.position.Data, ""), Complete: err == nil && !w.cut, Health: string(event.SourceOK),
	}
	if w.cut {
		r.Gaps = nil // what lies behind the last page was not looked at
	}
	if err := realFailure(err); err != nil {
		r.Error, r.Health = err.Error(), string(event.SourceFailing)
		if fetch, ok := errors.AsType[*poller.FetchError](err); ok {
			r.Health, r.Wait = string(fetch.Health), fetch.After.Seconds()
		}
	}
	judge := judgement{probe: p, store: st, first: !r.Before.place.CaughtUp, starts: startsOf(r.After.place), undecided: err != nil}
	told := map[string]bool{}
	byResource := map[string]string{} // of what was committed: its id
	for id, e := range st.committed {
		if e.Resource != "" {
			byResource[e.Resource] = id
		}
	}
	for _, item := range w.items {
		e := probeEvent{Feed: item.feed, Request: item.page, ID: item.ID, Type: item.Type, Time: when(item.Time)}
		if item.snapshot { // its change gets an id of its own when it is committed
			item.ID, e.ID = cmp.Or(byResource[item.Resource], item.ID), item.Resource
		}
		if c, ok := st.committed[item.ID]; ok {
			e.Type = c.Type
			if told[c.ID] {
				e.Verdict, e.Why = verdictRemembered, "listed twice in this poll"
			}
			told[c.ID] = true
		}
		if e.Verdict == "" {
			e.Verdict, e.Why = judge.of(item)
		}
		r.add(e, p)
	}
	for _, id := range st.order { // what was listed no more, say
		if c := st.committed[id]; !told[id] {
			e := probeEvent{ID: cmp.Or(c.Resource, id), Type: c.Type, Time: when(c.Time)}
			e.Verdict, e.Why = judge.of(seenItem{Event: c})
			e.Why += "; its resource is listed no more"
			r.add(e, p)
		}
	}
	return r
}

func (r *probeReport) add(e probeEvent, p *probe) {
	r.Events = append(r.Events, e)
	r.Counts[e.Verdict]++
	if e.Verdict != verdictNew {
		return
	}
	for _, s := range p.Sinks {
		if s.Wants(p.Source.Name) && s.Events.Match(e.Type) {
			r.Sinks[s.Name]++
		}
	}
}

// judgement says what would become of an event, and why. It is read off what the poller did.
type judgement struct {
	*probe
	store     *probeStore
	first     bool                 // no poll of this source was finished yet
	starts    map[string]time.Time // of each list; zero: none
	undecided bool                 // the poll ended early
}

func (j judgement) of(item seenItem) (verdict, why string) {
	c, taken := j.store.committed[item.ID]
	start := j.starts[item.feed]
	old := !item.Time.IsZero() && item.Time.Before(start)
	switch {
	case taken && c.Broken != "":
		return verdictAside, "it can't be an event: " + c.Broken
	case taken && !j.Source.Events.Match(c.Type):
		return verdictFiltered, fmt.Sprintf("its type is not among events: [%s]; its id would be remembered, and it would not be kept", strings.Join(j.Source.Events, ", "))
	case taken && start.IsZero():
		return verdictNew, "not remembered"
	case taken && item.Time.IsZero():
		return verdictNew, "not remembered, and listed after the start"
	case taken:
		return verdictNew, "not remembered, and not from before the start"
	case j.store.known[item.ID]:
		return verdictRemembered, "taken in earlier"
	case old:
		return verdictHistory, "from before the start, " + start.UTC().Format(time.RFC3339)
	case j.store.history[item.ID]:
		return verdictHistory, "listed by the poll that began the source; its id would be remembered"
	case j.undecided:
		return verdictUndecided, "not remembered; the poll ended before it was decided"
	case item.Resource != "" && !j.first && !taken:
		return verdictRemembered, "as it was when it was listed last"
	case j.first:
		return verdictHistory, "listed by the first poll, from before the start as far as its neighbours tell"
	}
	return verdictOld, "not remembered, but from before what the position looks back to: taken in earlier and forgotten, or listed very late"
}

// startsOf gives the start of each list by its name.
func startsOf(place poller.Place) map[string]time.Time {
	starts := map[string]time.Time{"": place.Start}
	for _, feed := range place.Feeds {
		starts[feed.Name] = feed.Start
	}
	return starts
}

// realFailure is what failed of a poll, other than that the probe ended it; nil where nothing did.
func realFailure(err error) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var failed []error
		for _, err := range several.Unwrap() {
			if err := realFailure(err); err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) < len(several.Unwrap()) {
			return errors.Join(failed...)
		}
	}
	if errors.Is(err, errEnoughPages) {
		return nil
	}
	return err
}
