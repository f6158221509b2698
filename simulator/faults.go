package simulator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Fault says when one kind of fault strikes: at the next so many chances, and after these at a share of them.
type Fault struct {
	Share float64       // of the chances, 0 to 1
	Next  int           // the next so many chances, before Share counts
	For   time.Duration // how long, where the fault has a length; 0 is its default
}

func (f Fault) never() bool { return f.Share == 0 && f.Next == 0 }

// strikes draws whether the fault strikes at this chance.
func (f *Fault) strikes(r *rand.Rand) bool {
	if f.Next > 0 {
		f.Next--
		return true
	}
	return f.Share > 0 && r.Float64() < f.Share
}

// Faults is how a simulated API misbehaves. The zero value is an API that behaves. A fault that an API can't have never strikes: Lost
// and Loop want cursors or pages, NoTime an API whose events may be undated. EmptyEnd makes what a list of resources lacks look deleted.
type Faults struct {
	Disabled        Fault // 422 account_disabled, at any endpoint
	RateLimited     Fault // 429 with Retry-After in seconds (For)
	RateLimitedDate Fault // 429 with Retry-After as a date (For from now)
	ServerError     Fault // 500, 502 or 503 with the vendor's error object
	HTML            Fault // 502 with a page of HTML
	HTML200         Fault // 200 with a page of HTML
	Unauthorized    Fault // 401 though the token is good
	Hang            Fault // any answer is held back (For)
	Slow            Fault // a page is held back (For)
	CutBody         Fault // an answer ends before its Content-Length
	Repeat          Fault // a page begins with the last items of the page before
	Twice           Fault // a page lists one of its events twice
	Loop            Fault // the page before comes again instead of the next one
	EmptyEnd        Fault // an empty page says that the list ends here
	Order           Fault // a page comes in the wrong order
	Lost            Fault // a cursor is unknown to the API
	Date            Fault // the Date of an answer is ahead (For)
	Late            Fault // an arrival of Run is listed behind the head (by up to For)
	NoTime          Fault // a new event carries no time
	Unknown         Fault // a new event has a type that is not documented
	Keep            int   // only the newest so many events are listed, cursors behind them are unknown; 0 is all
}

// faultKind is how a fault is called and written.
type faultKind struct {
	name   string
	field  func(*Faults) *Fault
	length time.Duration // default of For; 0: this fault has no length
	help   string
}

// faultKinds holds every fault but keep, in the order in which they are told.
var faultKinds = []faultKind{
	{"disabled", func(f *Faults) *Fault { return &f.Disabled }, 0, "422 account_disabled, at any endpoint"},
	{"429", func(f *Faults) *Fault { return &f.RateLimited }, 5 * time.Second, "429 with Retry-After in seconds"},
	{"429date", func(f *Faults) *Fault { return &f.RateLimitedDate }, 5 * time.Second, "429 with Retry-After as a date"},
	{"5xx", func(f *Faults) *Fault { return &f.ServerError }, 0, "500, 502 or 503 with the vendor's error object"},
	{"html", func(f *Faults) *Fault { return &f.HTML }, 0, "502 with a page of HTML"},
	{"html200", func(f *Faults) *Fault { return &f.HTML200 }, 0, "200 with a page of HTML"},
	{"401", func(f *Faults) *Fault { return &f.Unauthorized }, 0, "401 though the token is good"},
	{"hang", func(f *Faults) *Fault { return &f.Hang }, 5 * time.Second, "any answer is held back"},
	{"slow", func(f *Faults) *Fault { return &f.Slow }, 200 * time.Millisecond, "a page is held back"},
	{"cut", func(f *Faults) *Fault { return &f.CutBody }, 0, "an answer ends before its Content-Length"},
	{"repeat", func(f *Faults) *Fault { return &f.Repeat }, 0, "a page begins with the last items of the page before"},
	{"twice", func(f *Faults) *Fault { return &f.Twice }, 0, "a page lists one of its events twice"},
	{"loop", func(f *Faults) *Fault { return &f.Loop }, 0, "the page before comes again instead of the next one"},
	{"end", func(f *Faults) *Fault { return &f.EmptyEnd }, 0, "an empty page says that the list ends here"},
	{"order", func(f *Faults) *Fault { return &f.Order }, 0, "a page comes in the wrong order"},
	{"lost", func(f *Faults) *Fault { return &f.Lost }, 0, "a cursor is unknown to the API"},
	{"date", func(f *Faults) *Fault { return &f.Date }, time.Hour, "the Date of an answer is ahead by so much"},
	{"late", func(f *Faults) *Fault { return &f.Late }, 2 * time.Minute, "an arrival is listed behind the head, by up to so long"},
	{"notime", func(f *Faults) *Fault { return &f.NoTime }, 0, "a new event carries no time"},
	{"unknown", func(f *Faults) *Fault { return &f.Unknown }, 0, "a new event has a type that is not documented"},
}

const (
	keepName = "keep"
	keepHelp = "only the newest so many events are listed (keep=500)"
	maxNext  = 1_000_000
	maxFor   = 365 * 24 * time.Hour
)

// FaultsHelp explains the text that ParseFaults takes, with every fault's name, for a command's --help.
func FaultsHelp() string {
	var b strings.Builder
	b.WriteString(`Faults are written NAME=WHEN:LENGTH, with commas between: "late=0.1:2m,429=3x:30s,slow=200ms,disabled".
WHEN is a share (0.1 or 10%) or a count of next times (3x); without it the fault always strikes.
LENGTH is a duration (200ms, 5s, 2m), for the faults that have one.

`)
	for _, k := range faultKinds {
		help := k.help
		if k.length > 0 {
			help += fmt.Sprintf(" (length, default %s)", shortDuration(k.length))
		}
		fmt.Fprintf(&b, "  %-9s %s\n", k.name, help)
	}
	fmt.Fprintf(&b, "  %-9s %s\n", keepName, keepHelp)
	return b.String()
}

// ParseFaults reads faults as FaultsHelp explains them. The empty text is no faults.
func ParseFaults(text string) (Faults, error) {
	var faults Faults
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, given := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if seen[name] {
			return Faults{}, fmt.Errorf("fault %q: %s stands there twice", part, name)
		}
		seen[name] = true
		if given && value == "" {
			return Faults{}, fmt.Errorf("fault %q: nothing follows the equals sign", part)
		}
		if err := faults.set(name, value); err != nil {
			return Faults{}, fmt.Errorf("fault %q: %w", part, err)
		}
	}
	return faults, nil
}

func (f *Faults) set(name, value string) error {
	if name == keepName {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return errors.New("keep wants a number of events, 1 or more, such as keep=500")
		}
		f.Keep = n
		return nil
	}
	names := make([]string, 0, len(faultKinds)+1)
	for _, k := range faultKinds {
		if k.name == name {
			fault, err := parseFault(value, k)
			*k.field(f) = fault
			return err
		}
		names = append(names, k.name)
	}
	return fmt.Errorf("no fault is called %q; there are %s", name, strings.Join(append(names, keepName), ", "))
}

// parseFault reads "", WHEN, LENGTH or WHEN:LENGTH.
func parseFault(value string, kind faultKind) (Fault, error) {
	fault := Fault{Share: 1, For: kind.length}
	if value == "" {
		return fault, nil
	}
	when, length, both := strings.Cut(value, ":")
	if d, err := time.ParseDuration(when); err == nil && !both && when != "0" {
		return fault, fault.setFor(d, kind)
	}
	if err := fault.setWhen(when); err != nil {
		return Fault{}, err
	}
	if both {
		d, err := time.ParseDuration(length)
		if err != nil {
			return Fault{}, fmt.Errorf("%q is no duration, such as 200ms, 5s or 2m", length)
		}
		if err := fault.setFor(d, kind); err != nil {
			return Fault{}, err
		}
	}
	if fault.never() {
		return Fault{}, nil
	}
	return fault, nil
}

func (f *Fault) setFor(d time.Duration, kind faultKind) error {
	if kind.length == 0 {
		return fmt.Errorf("%s has no length; write a share (0.1) or a count (3x)", kind.name)
	}
	if d <= 0 || d > maxFor {
		return fmt.Errorf("the length must be more than 0 and at most %s", shortDuration(maxFor))
	}
	f.For = d
	return nil
}

func (f *Fault) setWhen(when string) error {
	if count, ok := strings.CutSuffix(when, "x"); ok {
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || n > maxNext {
			return fmt.Errorf("%q is no count of next times from 1x to %dx", when, maxNext)
		}
		f.Share, f.Next = 0, n
		return nil
	}
	number, percent := strings.CutSuffix(when, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return fmt.Errorf("%q is no share (0.1 or 10%%), count (3x) or duration (5s)", when)
	}
	if percent {
		share /= 100
	}
	if !(share >= 0 && share <= 1) {
		return fmt.Errorf("the share %s is not between 0 and 1; a count is written %sx", when, number)
	}
	f.Share = share
	return nil
}

// String writes the faults as ParseFaults reads them; where a Fault has both, Next stands for it.
func (f Faults) String() string {
	var parts []string
	for _, k := range faultKinds {
		fault := *k.field(&f)
		if fault.never() {
			continue
		}
		text := k.name + "=" + strconv.FormatFloat(fault.Share, 'g', -1, 64)
		if fault.Next > 0 {
			text = fmt.Sprintf("%s=%dx", k.name, fault.Next)
		}
		if fault.For > 0 {
			text += ":" + shortDuration(fault.For)
		}
		parts = append(parts, text)
	}
	if f.Keep > 0 {
		parts = append(parts, fmt.Sprintf("%s=%d", keepName, f.Keep))
	}
	return strings.Join(parts, ",")
}

// withLengths fills in the default lengths.
func (f Faults) withLengths() Faults {
	for _, k := range faultKinds {
		if fault := k.field(&f); fault.For == 0 && !fault.never() {
			fault.For = k.length
		}
	}
	return f
}

// shortDuration is d.String without its zero units: 2m instead of 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
