package poller

import "time"

// Kind says how a place in a list is kept.
type Kind string

// The kinds; a list needs to be as each of them says.
const (
	HeadWalk   Kind = "head_walk"   // newest first: walk back from the head to what is known
	TailCursor Kind = "tail_cursor" // oldest first: go on from a cursor
	TimeWindow Kind = "time_window" // by time: ask again for what came since, a little earlier
	Ack        Kind = "ack"         // what was taken in is acknowledged and listed no more
	Snapshot   Kind = "snapshot"    // all there is: compare it with what there was
)

// Order is how an API lists.
type Order string

const (
	Newest    Order = "newest" // newest first
	Oldest    Order = "oldest" // oldest first
	Unordered Order = "none"
)

// Feed is one list of a source.
type Feed struct {
	Name    string // keeps the feed's place; empty for the only feed of a source
	Kind    Kind
	Fetcher Fetcher
	Order   Order         // as declared; compared with what comes. Empty: HeadWalk newest, TailCursor oldest, else none
	Retain  time.Duration // how long the API lists an event; 0: not known
	Longest time.Duration // that one Fetch may take, for the watchdog; 0: six minutes
	Timed   bool          // its items are said to bear a time: that none does is told
	CanSeek bool          // TailCursor: a list can be begun at a time (Request.From, or a Seeker)

	Lag     time.Duration // TimeWindow: the window ends that far behind the server's clock
	Step    time.Duration // TimeWindow: no longer window is asked for at once; 0: any
	Late    bool          // TimeWindow: an item may be of any time when it is first listed
	Single  bool          // no list has more than one page. TimeWindow: a full one makes the window narrower; Snapshot: nothing is missing from it
	Counted bool          // TimeWindow: pages are numbers or offsets, so what leaves the list moves what follows it to an earlier page
	Changes bool          // Snapshot always, TimeWindow where set: the list is one of resources, and Fetcher a Wrapper

	Clock func() time.Time // ours; nil: time.Now. Where what was recorded is polled again it tells the time of the recording
}

// Lost says what to do when an API no longer knows our place.
type Lost string

const (
	// List again, and take in what is unknown from the position's time less the overlap on; where no event bore a time, LostStop.
	LostFromTime Lost = "from_time"
	// Take in nothing more, until the place is known again or a person decides.
	LostStop Lost = "stop"
	// Go on from now, as a source does that starts now.
	LostFromNow Lost = "from_now"
)
