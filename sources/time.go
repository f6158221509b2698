package sources

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"tidings/recipe"
)

// layouts of times as APIs write them; each also takes a fraction of a second.
var layouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04:05Z07",
	"2006-01-02 15:04:05Z07",
	"2006-01-02",
}

// clock reads and writes times as one API does.
type clock struct {
	zone   *time.Location // of times that say none
	layout string         // one of the units, or Go's; empty: any of layouts, or a number whose unit its length tells
}

func newClock(zone, layout string) (clock, error) {
	c := clock{zone: time.UTC, layout: layout}
	if zone == "" {
		return c, nil
	}
	var err error
	if c.zone, err = time.LoadLocation(zone); err != nil {
		return c, fmt.Errorf("zone is %q, which is no time zone known here; want UTC, or a name such as Europe/London", zone)
	}
	return c, nil
}

// units are the layouts that count since 1970: how many of each are in a second.
var units = map[string]int64{recipe.Unix: 1, recipe.UnixMS: 1e3, recipe.UnixUS: 1e6, recipe.UnixNS: 1e9}

// parse reads an event's time, a text or a number. It is zero for what is no time.
func (c clock) parse(v gjson.Result) time.Time {
	var s string
	switch v.Type {
	case gjson.String:
		s = v.Str
	case gjson.Number:
		s = v.Raw
	default:
		return time.Time{}
	}
	if date, ok := dotNet(s); ok {
		return date
	}
	if perSecond := units[c.layout]; perSecond > 0 {
		if t, ok := since1970(s, perSecond); ok {
			return t
		}
	} else if c.layout != "" {
		if t, err := time.ParseInLocation(c.layout, s, c.zone); err == nil {
			return t.UTC()
		}
	} else if t, ok := epoch(s); ok {
		return t
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, s, c.zone); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// dotNet reads /Date(1767323045000+0100)/: milliseconds since 1970, and an offset that says how the time was shown.
func dotNet(s string) (time.Time, bool) {
	inner, ok := strings.CutPrefix(s, "/Date(")
	if inner, found := strings.CutSuffix(inner, ")/"); ok && found {
		if i := strings.IndexAny(inner, "+-"); i > 0 {
			inner = inner[:i]
		}
		return since1970(inner, 1e3)
	}
	return time.Time{}, false
}

// epoch reads seconds, milli-, micro- or nanoseconds since 1970, told apart by how long the number is.
func epoch(s string) (time.Time, bool) {
	whole, _, _ := strings.Cut(s, ".")
	switch n := len(whole); {
	case n < 9 || n > 19:
		return time.Time{}, false
	case n <= 11:
		return since1970(s, 1)
	case n <= 14:
		return since1970(s, 1e3)
	case n <= 17:
		return since1970(s, 1e6)
	default:
		return since1970(s, 1e9)
	}
}

// since1970 reads digits with at most one fraction, without a float: nanoseconds have more digits than one holds.
func since1970(s string, perSecond int64) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" || len(whole) > 19 || !digits(whole) || !digits(fraction) {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	billionths, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if n/perSecond > 253402300799 { // the year 9999, the last that other formats can write
		return time.Time{}, false
	}
	return time.Unix(n/perSecond, n%perSecond*(1e9/perSecond)+billionths/perSecond).UTC(), true
}

func digits(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0
}

// grid are steps of which one is the smallest that a layout can show.
var grid = []time.Duration{
	1, time.Microsecond, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour, 31 * 24 * time.Hour, 366 * 24 * time.Hour,
}

// format writes a bound of a window in UTC, RFC 3339 where there is no layout. What the layout can't show is cut off: downwards, or
// upwards for a bound that nothing may fall beyond.
func (c clock) format(t time.Time, up bool) string {
	t = t.UTC()
	if perSecond := units[c.layout]; perSecond > 0 {
		unit := time.Duration(1e9 / perSecond)
		if down := t.Truncate(unit); up && down.Before(t) {
			t = down.Add(unit)
		}
		return strconv.FormatInt(t.Unix()*perSecond+int64(t.Nanosecond())/int64(unit), 10)
	}
	layout := cmp.Or(c.layout, time.RFC3339)
	text := t.Format(layout)
	shown, err := time.Parse(layout, text)
	if !up || err != nil || !shown.Before(t) {
		return text
	}
	for _, step := range grid {
		if next := shown.Add(step).Format(layout); next != text {
			return next
		}
	}
	return text
}
