package event

import "time"

// Notice tells that something happened. Poller, dispatch and store are given one func(Notice) each; it returns soon and
// never blocks on the teller's behalf. Logs, status and the demo's lines are made from notices, so what happens is told once.
type Notice interface{ notice() }

// SourceHealth is how a source does, in the word that status shows.
type SourceHealth string

const (
	SourceOK      SourceHealth = "ok"
	SourceFailing SourceHealth = "failing" // asked again with backoff
	SourceRefused SourceHealth = "refused" // the API refuses the account; asked again with backoff
	SourceLimited SourceHealth = "limited" // the API asked us to wait
	SourceBlocked SourceHealth = "blocked" // the store takes nothing in: full, or its disk is
)

// Polled: a poll ended well; the source was caught up at that moment.
type Polled struct {
	Source   string
	At       time.Time
	Took     time.Duration
	Pages    int
	Listed   int // items that the API listed, repeats included
	New      int // of these, taken in
	Filtered int // new, but of a type that the source's filter leaves out
	Repeated int // known already
	History  int // first poll: listed, but from before the start
	Next     time.Time
}

// PollFailed: a poll ended early. What it had committed stays; the position stands where it stood.
type PollFailed struct {
	Source   string
	At       time.Time
	Health   SourceHealth
	Err      error // one sentence, secrets replaced
	Failures int   // in a row
	Next     time.Time

	Listed, Filtered, Repeated int // until then, as in Polled; what was taken in is told by TakenIn
}

// TakenIn: a transaction is durable; these events are now owed to those that want them. It is told after the commit.
type TakenIn struct {
	Source string
	At     time.Time
	Events []Event // new ones that entered the log, oldest first; the receiver must not keep or change them
}

// SetAside: an item or a stored record could not be read; its bytes are kept aside.
type SetAside struct {
	Source string // or Sink, whichever it concerns
	Sink   string
	At     time.Time
	What   string // which item or record
	Why    string
}

// Hashed: a source lists items without an id; they are told apart by a hash of their content. Told once a source and run.
type Hashed struct {
	Source string
	At     time.Time
}

// GapFound: events may be, or are, missing for good.
type GapFound struct{ Gap Gap }

// Attempted: an attempt was settled, durably.
type Attempted struct {
	Sink     string
	At       time.Time
	Source   string
	ID       string
	Type     string
	Number   int // of this attempt, 1 the first
	Took     time.Duration
	Outcome  Outcome
	Reason   string        // why it failed; empty when delivered
	Wait     time.Duration // Retry: until the next one
	Received time.Time     // when the event was taken in
}

// SinkChanged: a sink went up, down or paused.
type SinkChanged struct {
	Sink   string
	At     time.Time
	Health Health
	Reason string
	Next   time.Time // Down: the next probe
}

// Written: the store made a transaction durable.
type Written struct {
	At   time.Time
	Took time.Duration // the wait for the disk included
}

// StoreTrouble: a transaction failed and its outcome is unknown; the store has reopened its file and everyone asks again.
type StoreTrouble struct {
	At  time.Time
	Err error
}

// SourceNote: something that a person should know of a source that goes on as it is: a file of its credentials can't be read again, say.
type SourceNote struct {
	Source string
	At     time.Time
	What   string // one sentence, secrets replaced
}

// StoreNote: the store did something by itself that a person may want to know of, or, as a warning, should.
type StoreNote struct {
	At   time.Time
	Warn bool
	What string // goes on after "the store: "
}

// ClockDoubted: the wall clock can't be right, so nothing expires until a server's clock agrees with it. An empty Why: it is
// believed again.
type ClockDoubted struct {
	At  time.Time
	Why string
}

func (Compacted) notice()    {}
func (Written) notice()      {}
func (ClockDoubted) notice() {}
func (Polled) notice()       {}
func (PollFailed) notice()   {}
func (TakenIn) notice()      {}
func (SetAside) notice()     {}
func (Hashed) notice()       {}
func (SourceNote) notice()   {}
func (GapFound) notice()     {}
func (Attempted) notice()    {}
func (SinkChanged) notice()  {}
func (StoreTrouble) notice() {}
func (StoreNote) notice()    {}
