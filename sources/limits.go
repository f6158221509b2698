package sources

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidings/recipe"
)

// maxReset is the longest wait that a header of rate limits is believed to mean. Such headers are read by rules of thumb, unlike
// Retry-After.
const maxReset = 24 * time.Hour

// quota is what an API says about one of its rate limits.
type quota struct {
	remaining float64       // requests that are left; negative: not said
	reset     time.Duration // until there are more; negative: not said
}

// quotas reads what the answer says about rate limits: by the recipe's own headers where it names them, else by those that are
// understood without more.
func (a answer) quotas() []quota {
	if l := a.limits; l.Remaining != "" || l.Reset != "" {
		return []quota{{number(a.header.Get(l.Remaining)), a.reset(a.header.Get(l.Reset), l.ResetIn)}}
	}
	all := structured(a.header)
	for _, prefix := range []string{"RateLimit", "X-RateLimit", "X-Rate-Limit"} {
		remaining, reset := a.header.Get(prefix+"-Remaining"), a.header.Get(prefix+"-Reset")
		if remaining == "" && reset == "" {
			continue
		}
		unit := ""
		if prefix == "RateLimit" {
			unit = recipe.InSeconds
		}
		all = append(all, quota{number(remaining), a.reset(reset, unit)})
	}
	return all
}

// wait is how long the API wants to be left alone: until a spent limit has room again, or by the recipe's header of an interval.
func (a answer) wait() time.Duration {
	var wait time.Duration
	for _, q := range a.quotas() {
		if q.remaining == 0 {
			wait = max(wait, q.reset)
		}
	}
	if s := number(a.header.Get(a.limits.Interval)); s > 0 {
		wait = max(wait, seconds(s))
	}
	return wait
}

// after is when an answer that is an error says to come back: by Retry-After, else when its limits have room again.
func (a answer) after(limited bool) time.Duration {
	if after, ok := a.retryAfter(); ok {
		return after
	}
	var after time.Duration
	for _, q := range a.quotas() {
		if q.remaining == 0 || limited && q.remaining < 0 {
			after = max(after, q.reset)
		}
	}
	return after
}

// reset reads when a limit has room again. Without a unit a large number is a time since 1970, a small one a wait in seconds.
func (a answer) reset(value, unit string) time.Duration {
	value = strings.TrimSpace(value)
	n := number(value)
	if n < 0 {
		at, err := http.ParseTime(value)
		if err != nil {
			at, err = time.Parse(time.RFC3339, value)
		}
		if err != nil || unit != "" && unit != recipe.InDate {
			return -1
		}
		return a.until(at)
	}
	switch {
	case unit == recipe.InDate:
		return -1
	case unit == recipe.InMilliseconds:
		return seconds(n / 1e3)
	case unit == recipe.InEpoch || unit == "" && n >= 1e9 && n < 1e11:
		return a.until(time.Unix(0, 0).Add(span(n, time.Second)))
	case unit == recipe.InEpochMS || unit == "" && n >= 1e11:
		return a.until(time.Unix(0, 0).Add(span(n, time.Millisecond)))
	}
	return seconds(n)
}

// span is n units, or the longest duration there is.
func span(n float64, unit time.Duration) time.Duration {
	if n >= float64(math.MaxInt64)/float64(unit) {
		return math.MaxInt64
	}
	return time.Duration(n * float64(unit))
}

// until is how long it is from the server's time to t.
func (a answer) until(t time.Time) time.Duration {
	return min(max(t.Sub(orNow(a.date())), 0), maxReset)
}

// seconds is a wait of whole seconds, rounded up.
func seconds(n float64) time.Duration {
	return time.Duration(min(math.Ceil(n), maxReset.Seconds())) * time.Second
}

// number reads a header's number; negative where it has none.
func number(value string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return -1
	}
	return n
}

// structured reads the RateLimit field of draft-ietf-httpapi-ratelimit-headers: a list of policies, each with what remains (r) and
// seconds until more (t), whose window (w) RateLimit-Policy says where t is missing; in draft 07 a dictionary of limit, remaining
// and reset.
func structured(header http.Header) []quota {
	windows := map[string]time.Duration{}
	for _, policy := range members(header.Values("RateLimit-Policy")) {
		if w := number(policy.params["w"]); w >= 0 {
			windows[policy.name] = seconds(w)
		}
	}
	var all []quota
	whole := quota{-1, -1} // of the dictionary
	for _, m := range members(header.Values("RateLimit")) {
		switch key, value, _ := strings.Cut(m.name, "="); strings.TrimSpace(key) {
		case "remaining":
			whole.remaining = number(value)
			continue
		case "reset":
			if n := number(value); n >= 0 {
				whole.reset = seconds(n)
			}
			continue
		}
		q := quota{number(m.params["r"]), -1}
		if t := number(m.params["t"]); t >= 0 {
			q.reset = seconds(t)
		} else if w, ok := windows[m.name]; ok {
			q.reset = w
		}
		if q.remaining >= 0 {
			all = append(all, q)
		}
	}
	if whole.remaining >= 0 || whole.reset >= 0 {
		all = append(all, whole)
	}
	return all
}

// member is one of a structured field's list (RFC 9651, 3.1), with its parameters.
type member struct {
	name   string
	params map[string]string
}

func members(values []string) []member {
	var all []member
	for _, text := range split(strings.Join(values, ","), ',') {
		parts := split(text, ';')
		m := member{strings.TrimSpace(parts[0]), map[string]string{}}
		for _, part := range parts[1:] {
			key, value, _ := strings.Cut(part, "=")
			m.params[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
		all = append(all, m)
	}
	return all
}

// split cuts at a separator that does not stand in quotes.
func split(s string, separator byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && s[i] == separator:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
