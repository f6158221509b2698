package recipe

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a recipe may say where only some words are allowed.
const (
	HeadWalk    = "head_walk"   // newest first: walk back from the head to what is known
	TailCursor  = "tail_cursor" // oldest first: go on from a cursor
	TimeWindow  = "time_window" // by time: ask again for what came since
	Acknowledge = "ack"         // what was taken in is acknowledged and listed no more
	Snapshot    = "snapshot"    // all there is: compare it with what there was

	Newest    = "newest"
	Oldest    = "oldest"
	Unordered = "none"

	LastID = "last_id" // the cursor is the id of the page's last item
	Page   = "page"    // a number that counts pages
	Offset = "offset"  // a number that counts items
	Link   = "link"    // the Link header's rel=next

	InQuery  = "query"
	InBody   = "body"
	InHeader = "header"
	InPath   = "path"
	InURL    = "url"

	Refused = "refused"
	Limited = "limited"
	Lost    = "lost"
	Empty   = "empty"

	InSeconds      = "seconds"
	InMilliseconds = "milliseconds"
	InEpoch        = "epoch"
	InEpochMS      = "epoch_ms"
	InDate         = "date"

	Unix   = "unix"
	UnixMS = "unix_ms"
	UnixUS = "unix_us"
	UnixNS = "unix_ns"
)

// Positions are the ways to keep a place.
var Positions = []string{HeadWalk, TailCursor, TimeWindow, Acknowledge, Snapshot}

var (
	epochs     = []string{Unix, UnixMS, UnixUS, UnixNS}
	resetUnits = []string{InSeconds, InMilliseconds, InEpoch, InEpochMS, InDate}
)

// saysTheDay reports whether times can be written in a layout so that one day is not another.
func saysTheDay(layout string) bool {
	if slices.Contains(epochs, layout) {
		return true
	}
	at := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	got, err := time.Parse(layout, at.Format(layout))
	return err == nil && got.Equal(at)
}

// Credential reports whether the name of a header or of a query parameter says that its value proves who asks.
func Credential(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"cookie", "auth", "token", "secret", "key", "session", "credential", "password", "signature"},
		func(word string) bool { return strings.Contains(name, word) })
}

const day = 24 * time.Hour

var days = regexp.MustCompile(`^([0-9]+)d(.*)$`)

// Duration reads a duration, which may have days in front: 90s, 15m, 14d, 1d12h.
func Duration(text string) (time.Duration, error) {
	m := days.FindStringSubmatch(text)
	if m == nil {
		return time.ParseDuration(text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n > 36500 {
		return 0, errors.New("more than 36500 days")
	}
	if m[2] == "" {
		return time.Duration(n) * day, nil
	}
	rest, err := time.ParseDuration(m[2])
	if err != nil || rest < 0 || m[2][0] == '+' {
		return 0, errors.New("not a duration after the days")
	}
	return time.Duration(n)*day + rest, nil
}

// FormatDuration writes a duration as Duration reads it, without units that are zero: 3d, 1h30m, 1m.
func FormatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
