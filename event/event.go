// Package event holds the words that all rooms share: what an event is, what a sink is owed, what an attempt said, and what
// the rooms tell each other about it. It imports the standard library only and does nothing by itself.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Event is one thing that happened, as a source listed it.
type Event struct {
	Source   string    // name of the configured source
	ID       string    // the vendor's id as text, or "sha256_" and the hash of the content where the API has none
	Type     string    // the vendor's type; empty where the API has none
	Time     time.Time // when it happened by the vendor's word; zero where the API does not say
	Received time.Time // when it was taken in; set by the store
	Data     []byte    // the raw body, byte for byte as listed; never changed, never re-marshalled
	Resource string    // what the event is a version of, where a list is one of resources; between a fetcher and its poller only
	Born     time.Time // when that resource was created; likewise

	// Broken, when not empty, says why this item of the list can't be an event (it is not a JSON object, say). The store
	// remembers such an item like any other, keeps its bytes aside and gives it to no sink.
	Broken string
}

// Page is one response of an event list, in the order in which the API listed it.
type Page struct {
	Events []Event
	Next   string    // the cursor that goes on after this page, now or, where Idle, later; empty when there is none
	More   bool      // whether the API itself says that there are more pages; where it has no such word, Next is all there is
	Idle   bool      // there is nothing to fetch at once; Next, if any, is where to go on at the next poll
	Full   bool      // the page has as many items as it can have
	Date   time.Time // the server's clock (the response's Date); zero where it did not say
	Hashed int       // how many events carry a content hash for want of an id

	Wait        time.Duration // the API asks not to be polled again before; 0 where it does not say
	Validator   string        // asks for the page again only if it has changed; empty where the API gives none
	NotModified bool          // the page is as it was when the request's validator was given; it has no events here
}

// Commit is what a poll hands to the store as one transaction: events, oldest first, and where the source stands after them.
type Commit struct {
	Source     string
	Generation uint64 // of the position that this poll started from; another one is refused
	Events     []Event
	Position   []byte   // the new position, opaque to the store; nil leaves the stored one
	Gap        *Gap     // a gap found by this poll, recorded with it
	Remember   []string // ids to be remembered without an event: what was listed before the start, or names a resource
}

// Committed says what became of a commit.
type Committed struct {
	New      int // entered the log, or were set aside
	Filtered int // new, but of a type that the source's filter leaves out: remembered, not stored
	Repeated int // remembered already
}

// Position is where a source stands.
type Position struct {
	Generation uint64 // grows when a person sets or resets the position
	Data       []byte // opaque to the store; nil when the source was never polled
}

// Gap is a stretch of events that the API could not give us any more.
type Gap struct {
	Source  string    `json:"source"`
	From    time.Time `json:"from,omitzero"` // the newest event known before it; where there was none the source's start, if any
	To      time.Time `json:"to,omitzero"`   // the oldest event known after it; zero when nothing was listed, or nothing is taken in any more
	Found   time.Time `json:"found"`
	Certain bool      `json:"certain"` // false: the API shows signs of a gap and can't rule one out
	Why     string    `json:"why"`     // one sentence for a person
}

// GapType is the type of the event that tells a gap.
const GapType = "tidings.gap"

// GapEvent is the event that tells g: of the source Own, with a body as Standard Webhooks recommends it.
func GapEvent(g Gap) Event {
	data, err := json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      Gap       `json:"data"`
	}{GapType, g.Found.UTC(), g})
	if err != nil {
		panic(err) // strings, booleans and times that were parsed
	}
	sum := sha256.Sum256(data)
	return Event{Source: Own, ID: "gap_" + hex.EncodeToString(sum[:12]), Type: GapType, Time: g.Found.UTC(), Data: data}
}
