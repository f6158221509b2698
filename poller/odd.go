package poller

import (
	"fmt"
	"time"

	"tidings/event"
)

// odd is what a feed finds odd in the answers of an API, and goes on with. It is told once, as a note.
type odd struct {
	skewed  bool // a Date far from our clock was told
	times   bool // an event bore one
	undated int  // events that bore none
	blank   bool // that none does was told
	many    int  // pages of one poll at which the next note is due; zero: manyPages
}

const (
	maxSkew    = 24 * time.Hour // between our clock and a server's, where both were set
	minUndated = 10             // events without a time before it is called wrong that there are none with one
	manyPages  = 1000           // of one poll; again at ten times as many
)

// written: a clock that stands before it was never set, since this program is younger.
var written = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// believe returns the clock to judge an answer by: its Date, or ours where that was set and stands more than a day behind it. By a clock
// that is ahead an event is taken for forgotten, and a source starts after what it is to take in; by one that is behind all comes late at
// worst. Which of the two is wrong nobody can say here.
func (f *feed) believe(date time.Time) time.Time {
	ours := f.now()
	if date.IsZero() || ours.Before(written) || ours.Sub(date).Abs() <= maxSkew {
		return date
	}
	if !f.skewed {
		f.skewed = true
		f.note("the API's clock says %s, and ours %s: the earlier one counts, so that nothing is taken for older than it is; set right the "+
			"one that is wrong", date.UTC().Format(time.RFC3339), ours.UTC().Format(time.RFC3339))
	}
	return earlier(date, ours.Round(0))
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
