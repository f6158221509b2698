package event

import "time"

// SourceStats is what the store knows of a source, for status.
type SourceStats struct {
	Name     string
	Identity string    // account and API in one text, as last configured
	Removed  bool      // no longer configured; its position waits for the name to come back
	Position []byte    // opaque; nil when never polled
	Moved    time.Time // when the position was last stored
	Gaps     []Gap     // the newest ten
	GapCount int
	Aside    int // items set aside
}

// SinkStats is what the store knows of a sink, for status. Owed is kept as a count, not counted by scanning.
type SinkStats struct {
	Name      string
	Frozen    bool // no longer configured; what it is owed waits for the name to come back
	State     SinkState
	Owed      uint64
	Oldest    time.Time // when the oldest owed event was taken in; zero when nothing is owed
	Replaying uint64    // of Owed: what remains of replays, some of which may turn out to be owed or dead anyway
	Retrying  int       // failed at least once and due again
	NextDue   time.Time // when the earliest retry is due; zero when none is
	InFlight  int
	Dead      int
}

// Compacted is what a compaction of the store did. The store tells it as a notice, too.
type Compacted struct {
	Before int64         `json:"before"` // bytes of the file
	After  int64         `json:"after"`
	Took   time.Duration `json:"took"`
	Paused time.Duration `json:"paused"` // of this, writing waited
}

// The limits of the store, as the configuration names them.
const (
	LimitSize = "max_size"
	LimitFree = "min_free"
)

// StoreStats is what the store knows of itself.
type StoreStats struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`            // bytes of the file
	Used   int64  `json:"used"`            // of these, in use
	Events uint64 `json:"events"`          // in the log
	IDs    uint64 `json:"ids"`             // remembered
	Free   int64  `json:"free"`            // bytes that the disk has free for it
	Full   string `json:"full,omitempty"`  // why polling pauses; empty when it does not
	Limit  string `json:"limit,omitempty"` // the limit that Full is about: LimitSize or LimitFree
	Clock  string `json:"clock,omitempty"` // why the clock isn't believed, so that nothing expires; empty when it is
}
