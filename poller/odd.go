package poller

import (
	"fmt"
	"time"

	"tidings/event"
)

// odd is what a feed finds odd in the answers of an API, and goes on with. It is told once, as a note.
type odd struct {
	denied  time.Time // the Date of the last answer, where it was not believed
	skewed  bool      // such a Date was told
	times   bool      // an event bore one
	undated int       // events that bore none
	blank   bool      // that none does was told
	many    int       // pages of one poll at which the next note is due; zero: manyPages
}

const (
	maxSkew    = 24 * time.Hour // between our clock and a server's, where both were set
	minUndated = 10             // events without a time before it is called wrong that there are none with one
	manyPages  = 1000           // of one poll; again at ten times as many
)

// written: a clock that stands before it was never set, since this program is younger.
var written = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// believe returns the Date of an answer, or zero, as if there were none, where it is more than a day from our clock and that was set: an
// event that is judged by a clock which is years ahead is forgotten, one that is years behind asks for no window.
func (f *feed) believe(date time.Time) time.Time {
	ours := f.now()
	if date.IsZero() || ours.Before(written) || ours.Sub(date).Abs() <= maxSkew {
		f.denied = time.Time{}
		return date
	}
	f.denied = date
	if !f.skewed {
		f.skewed = true
		f.note("the API's clock says %s, and ours %s: ours is believed; if that is the one that is wrong, set it right",
			date.UTC().Format(time.RFC3339), ours.UTC().Format(time.RFC3339))
	}
	return time.Time{}
}

// startNow returns the start of a source that starts now, by the clock head. Where the server's was not believed it is the earlier of both:
// too much taken in is seen, and too little is not.
func (f *feed) startNow(head time.Time) time.Time {
	if !f.denied.IsZero() {
		head = earlier(head, f.denied)
	}
	return head
}

// watch tells what is odd about a page, and about how many there are.
func (f *feed) watch(page event.Page) {
	for _, e := range page.Events {
		if !dated(e.Time).IsZero() {
			f.times = true
		} else if e.Broken == "" {
			f.undated++
		}
	}
	if f.Timed && !f.blank && !f.times && f.undated >= minUndated {
		f.blank = true
		so := "late events and lost places can't be told by it"
		if f.Kind == TimeWindow {
			so = "its place does not move"
		}
		f.note("none of the %d events that were listed bears a time that can be read, so %s: look at time, zone and layout in its configuration", f.undated, so)
	}
	if f.many == 0 {
		f.many = manyPages
	}
	if f.pages >= f.many {
		f.many *= 10
		f.note("this poll has asked for %d pages and goes on; if there is not that much to catch up with, its list never ends, or gives "+
			"what it lists another id each time: look at paging and id in its configuration", f.pages)
	}
}

// note tells of something that goes on as it is.
func (f *feed) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f.Name != "" {
		text = "feed " + f.Name + ": " + text
	}
	f.poller.notify(event.SourceNote{Source: f.poller.Source, At: time.Now(), What: text})
}
