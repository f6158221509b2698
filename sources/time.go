package sources

import (
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// layouts of times as APIs write them; each also takes a fraction of a second. What has no zone is UTC.
var layouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02",
}

// parseTime reads an event's time: text as above, or a number (also in a string) of seconds, milli-, micro- or nanoseconds since
// 1970, told apart by how long it is. It is zero for anything else.
func parseTime(v gjson.Result) time.Time {
	var s string
	switch v.Type {
	case gjson.String:
		s = v.Str
	case gjson.Number:
		s = v.Raw
	}
	if t, ok := epoch(s); ok {
		return t
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// epoch reads digits with at most one fraction, without a float: nanoseconds have more digits than one holds.
func epoch(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(whole) < 9 || len(whole) > 19 || !digits(whole) || !digits(fraction) {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	fraction = (fraction + "000000000")[:9]
	billionths, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	var t time.Time
	switch {
	case len(whole) <= 11:
		t = time.Unix(n, billionths)
	case len(whole) <= 14:
		t = time.UnixMilli(n).Add(time.Duration(billionths / 1e3))
	case len(whole) <= 17:
		t = time.UnixMicro(n).Add(time.Duration(billionths / 1e6))
	default:
		t = time.Unix(0, n)
	}
	return t.UTC(), true
}

func digits(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0
}
