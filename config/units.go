package config

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"tidings/recipe"
)

// duration reads a duration between least and most into to.
func (d *decoder) duration(to *time.Duration, least, most time.Duration) func(value) {
	return func(v value) {
		const want = "a duration such as 90s, 15m, 72h or 14d"
		s, ok := d.shown(v, want)
		if !ok {
			return
		}
		got, err := recipe.Duration(s.text)
		switch {
		case err != nil:
			d.problem(v, "is %s, and must be %s", s.show(), want)
		case got < least:
			d.problem(v, "is %s, and must be at least %s", s.show(), recipe.FormatDuration(least))
		case got > most:
			d.problem(v, "is %s, and must be at most %s", s.show(), recipe.FormatDuration(most))
		default:
			*to = got
		}
	}
}

const (
	day     = 24 * time.Hour
	forever = 100 * 365 * day
)

var (
	sizeText  = regexp.MustCompile(`^([0-9]{1,18}) ?(B|[KMGT]i?B)?$`)
	sizeUnits = map[string]int64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
)

// size reads a number of bytes that is at least least, whose text is leastText, into to.
func (d *decoder) size(to *int64, least int64, leastText string) func(value) {
	return func(v value) {
		const want = "a size such as 512MiB, 10GiB or 10GB"
		s, ok := d.shown(v, want)
		if !ok {
			return
		}
		m := sizeText.FindStringSubmatch(s.text)
		if m == nil {
			d.problem(v, "is %s, and must be %s", s.show(), want)
			return
		}
		n, _ := strconv.ParseInt(m[1], 10, 64)
		unit := sizeUnits[m[2]]
		switch {
		case n > math.MaxInt64/unit:
			d.problem(v, "is %s, more than any disk has: write %s", s.show(), want)
		case n*unit < least:
			d.problem(v, "is %s, and must be at least %s", s.show(), leastText)
		default:
			*to = n * unit
		}
	}
}
