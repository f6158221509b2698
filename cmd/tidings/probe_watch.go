package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/sources"
)

// errEnoughPages ends a probe that would ask for more pages than it may.
var errEnoughPages = errors.New("the probe asks for no more pages")

// probeStep is one thing that a probe did, in the order in which it was done.
type probeStep struct {
	Number  int           `json:"number,omitempty"` // of a request or a run; what has none tells of the one before it
	Request *probeRequest `json:"request,omitempty"`
	Page    *probePage    `json:"page,omitempty"`
	Note    string        `json:"note,omitempty"` // something that the daemon would do and the probe doesn't, or that was cut short
}

// probeRequest is a request and its answer, or a run of a program.
type probeRequest struct {
	Request string            `json:"request"`
	Program bool              `json:"program,omitempty"`
	Login   bool              `json:"login,omitempty"`
	Status  int               `json:"status,omitempty"`
	Seconds float64           `json:"seconds"`
	Bytes   int64             `json:"bytes"`
	Header  map[string]string `json:"header,omitempty"` // those that say something about polling
	Begins  string            `json:"begins,omitempty"` // the body of an answer that is no success
	Error   string            `json:"error,omitempty"`
}

// probePage is what was recognised in an answer.
type probePage struct {
	Feed        string     `json:"feed,omitempty"`
	Items       int        `json:"items"`
	WithoutID   int        `json:"without_id"` // known by a hash of their content
	WithoutType int        `json:"without_type"`
	WithoutTime int        `json:"without_time"`
	Broken      int        `json:"broken"` // no events; they would be set aside
	Oldest      *time.Time `json:"oldest"`
	Newest      *time.Time `json:"newest"`
	Since       *time.Time `json:"since,omitempty"` // the window that was asked for
	Until       *time.Time `json:"until,omitempty"`
	Next        string     `json:"next"` // the cursor of the next page
	End         bool       `json:"end"`  // there is nothing more to ask for at once
	Unchanged   bool       `json:"unchanged,omitempty"`
	Validator   string     `json:"validator,omitempty"`
	Wait        float64    `json:"wait,omitempty"`  // seconds for which the API wants to be left alone
	Clock       *float64   `json:"clock,omitempty"` // seconds that the server's clock is ahead of this machine's
}

// seenItem is an item as it was listed.
type seenItem struct {
	feed     string
	snapshot bool // what is listed is a resource, and its ID that of this version of it
	page     int
	event.Event
}

// watch takes down what a probe does.
type watch struct {
	pages     int // that a list may be asked for
	now       func() time.Time
	recording bool // what is asked was recorded: there is no clock to compare
	steps     []probeStep
	numbers   int
	items     []seenItem
	exchanges []sources.Exchange
	cut       bool // a list was not read to its end
}

func (w *watch) note(format string, args ...any) {
	w.steps = append(w.steps, probeStep{Note: fmt.Sprintf(format, args...)})
}

// telling are the headers that a probe shows.
var telling = []string{"Date", "Retry-After", "Etag", "Last-Modified", "Link", "Content-Type"}

// rateHeader reports whether a header says how often an API may be asked.
func rateHeader(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(strings.ReplaceAll(name, "-", ""), "ratelimit") || strings.Contains(name, "poll-interval")
}

// exchange takes down a request.
func (w *watch) exchange(x sources.Exchange) {
	w.exchanges = append(w.exchanges, x)
	w.numbers++
	r := &probeRequest{
		Request: x.Request, Program: x.Program, Login: x.Login, Status: x.Status, Seconds: x.Took.Seconds(), Bytes: x.Size, Error: x.Error,
	}
	for name, values := range x.Header {
		if len(values) > 0 && (slices.Contains(telling, name) || rateHeader(name)) {
			if r.Header == nil {
				r.Header = map[string]string{}
			}
			r.Header[name] = cut(values[0], 200)
		}
	}
	if !x.Program && x.Status/100 != 2 && x.Status != http.StatusNotModified {
		r.Begins = cut(x.Body, 400)
	}
	w.steps = append(w.steps, probeStep{Number: w.numbers, Request: r})
}

// watchedList is a list of a source, watched. It acknowledges nothing and seeks nothing.
type watchedList struct {
	*watch
	feed   poller.Feed
	policy poller.Lost
	asked  int
	acked  bool
}

// watched makes a feed whose fetcher is watched.
func (w *watch) watched(f poller.Feed, policy poller.Lost) poller.Feed {
	if w.recording {
		f.Clock = w.now
	}
	f.Fetcher = &watchedList{watch: w, feed: f, policy: policy}
	return f
}

func (l *watchedList) Fetch(ctx context.Context, r poller.Request) (event.Page, error) {
	_, seeks := l.feed.Fetcher.(poller.Seeker)
	switch {
	case l.acked: // and nothing of it is listed any more
		return event.Page{Idle: true, Date: l.now()}, nil
	case l.asked == 0 && seeks && r.Cursor == "":
		l.note("the daemon would first move the position that the API keeps to where the source starts; the probe does not, and lists from where it stands")
	case l.asked == 1 && seeks:
		l.cut = true
		l.note("asking for another page would move the position that the API keeps, so the probe ends here")
		return event.Page{}, errEnoughPages
	case l.asked == l.pages:
		l.cut = true
		l.note("the list goes on, and the probe ends after %s: --pages asks for more", plural(l.pages, "page", "pages"))
		return event.Page{}, errEnoughPages
	}
	page, err := l.feed.Fetcher.Fetch(ctx, r)
	if err != nil {
		return page, err
	}
	l.asked++
	l.recognised(r, page)
	if page.Date.IsZero() && l.recording {
		page.Date = l.now()
	}
	// A walk from the head judges nothing before it has ended, so it is told that the list ends here. Where that could be taken for a lost
	// place that stops the source, it is not.
	if l.feed.Kind == poller.HeadWalk && l.asked == l.pages && page.Next != "" && l.policy == poller.LostFromTime {
		page.Next, page.More, l.cut = "", false, true
		l.note("the list goes on, and the probe ends after %s: --pages asks for more", plural(l.pages, "page", "pages"))
	}
	return page, nil
}

// recognised takes down what a page has.
func (l *watchedList) recognised(r poller.Request, page event.Page) {
	p := &probePage{
		Feed: l.feed.Name, Items: len(page.Events), WithoutID: page.Hashed, Next: page.Next, End: page.Next == "" || page.Idle,
		Unchanged: page.NotModified, Validator: page.Validator, Wait: page.Wait.Seconds(), Since: when(r.Since), Until: when(r.Until),
	}
	for _, e := range page.Events {
		switch {
		case e.Broken != "":
			p.Broken++
		case e.Time.IsZero():
			p.WithoutTime++
		case p.Oldest == nil:
			p.Oldest, p.Newest = when(e.Time), when(e.Time)
		case e.Time.Before(*p.Oldest):
			p.Oldest = when(e.Time)
		case e.Time.After(*p.Newest):
			p.Newest = when(e.Time)
		}
		if e.Type == "" && e.Broken == "" && !l.feed.Changes && l.feed.Kind != poller.Snapshot { // those get theirs when it is known what changed
			p.WithoutType++
		}
		e.Data = nil
		l.items = append(l.items, seenItem{l.feed.Name, l.feed.Kind == poller.Snapshot && e.Resource != "", l.numbers, e})
	}
	if !page.Date.IsZero() && !l.recording {
		p.Clock = new(page.Date.Sub(l.now()).Round(time.Second).Seconds())
	}
	l.steps = append(l.steps, probeStep{Page: p})
}

// Ack tells what would be acknowledged.
func (l *watchedList) Ack(_ context.Context, _ string, events []event.Event) error {
	l.acked = true
	l.note("the daemon would now acknowledge %s; the probe does not", plural(len(events), "event", "events"))
	return nil
}

// Wrap is that of the fetcher.
func (l *watchedList) Wrap(e *event.Event, change poller.Change) bool {
	wrapper, ok := l.feed.Fetcher.(poller.Wrapper)
	return ok && wrapper.Wrap(e, change)
}

// when is a time in an answer in JSON: null for none.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
