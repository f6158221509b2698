package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// shownEvents is how many events are told one by one; beyond it the first and the last ones are, and each verdict's types are counted.
const shownEvents = 20

// teller prints a report for a person. It stops at the first error.
type teller struct {
	out io.Writer
	err error
}

// line prints one line, whatever characters come from outside.
func (t *teller) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.out, strings.TrimRight(printable(fmt.Sprintf(format, args...)), " "))
	}
}

func (t *teller) begin(r *probeReport) {
	if r.From != "" {
		t.line("A recording of source %s (%s) from %s is polled again. No API is asked.", r.Source, r.API, clockText(r.At))
	} else {
		t.line("Source %s (%s) is polled once. Nothing is written, delivered or acknowledged.", r.Source, r.API)
	}
	t.line("")
	if r.Note != "" {
		t.line("%s", r.Note)
	}
	if r.Before.Polled {
		t.place("It goes on from", r.Before)
	} else {
		t.line("It was never polled, and starts %s: %s.", r.Before.Start, firstText(r.Before.Start))
	}
	t.line("")
}

// firstText says what a first run takes in.
func firstText(start string) string {
	switch {
	case start == "now":
		return "what is listed from before this poll is history, and is not taken in"
	case strings.HasPrefix(start, "at the earliest"):
		return "all that is listed is taken in"
	}
	return "what is from before that is history, and is not taken in"
}

func (t *teller) place(intro string, p probePosition) {
	if p.broken != nil {
		t.line("%s a position that can't be read: %v", intro, p.broken)
		return
	}
	if len(p.place.Feeds) == 0 {
		t.line("%s %s.", intro, placeText(p.place))
		return
	}
	t.line("%s", intro)
	for _, feed := range p.place.Feeds {
		t.line("    %s: %s", feed.Name, placeText(feed))
	}
}

// placeText says where a list stands.
func placeText(p poller.Place) string {
	var parts []string
	if p.Time.IsZero() {
		parts = append(parts, "no event seen yet that bears a time")
	} else {
		parts = append(parts, "the newest event seen, of "+clockText(p.Time))
	}
	if p.Newest != "" {
		parts = append(parts, "id "+cut(p.Newest, 60))
	}
	if p.Cursor != "" {
		parts = append(parts, "cursor "+cut(p.Cursor, 60))
	}
	if !p.Start.IsZero() {
		parts = append(parts, "nothing older than its start, "+clockText(p.Start))
	}
	if p.Walking {
		parts = append(parts, "in the middle of a long walk")
	}
	if p.Lost {
		parts = append(parts, "the place is lost")
	}
	return strings.Join(parts, "; ")
}

func (t *teller) steps(r *probeReport) {
	for _, s := range r.Steps {
		switch {
		case s.Request != nil:
			t.request(s.Number, s.Request)
		case s.Page != nil:
			t.page(s.Page)
		default:
			t.line("    %s.", capital(s.Note))
		}
	}
	if len(r.Steps) > 0 {
		t.line("")
	}
}

func (t *teller) request(number int, q *probeRequest) {
	took := (time.Duration(q.Seconds * float64(time.Second))).Round(time.Millisecond).String()
	size := bytesText(q.Bytes)
	switch {
	case q.Program && q.Error == "":
		t.line("%2d. run %s: done in %s, %s", number, q.Request, took, size)
	case q.Program:
		t.line("%2d. run %s: ended after %s", number, q.Request, took)
	case q.Status == 0:
		t.line("%2d. %s: no answer that can be used, after %s", number, q.Request, took)
	case q.Login:
		t.line("%2d. %s: %d %s in %s, %s (a login, whose answer is not shown)", number, q.Request, q.Status, http.StatusText(q.Status), took, size)
	default:
		t.line("%2d. %s: %d %s in %s, %s", number, q.Request, q.Status, http.StatusText(q.Status), took, size)
	}
	for _, name := range slices.Sorted(maps.Keys(q.Header)) {
		t.line("    %s: %s", name, q.Header[name])
	}
	if q.Begins != "" {
		t.line("    It says: %s", q.Begins)
	}
	if q.Error != "" {
		t.line("    %s", q.Error)
	}
}

func (t *teller) page(p *probePage) {
	of := ""
	if p.Feed != "" {
		of = " of the feed " + p.Feed
	}
	if p.Since != nil || p.Until != nil {
		of += ", asked for"
	}
	if p.Since != nil {
		of += " from " + clockText(*p.Since)
	}
	if p.Until != nil {
		of += " to " + clockText(*p.Until)
	}
	if p.Unchanged {
		t.line("    The page%s has not changed since it was asked for last.", of)
	} else {
		t.line("    %s recognised%s%s", plural(p.Items, "event", "events"), of, lacking(p))
	}
	if p.Oldest != nil {
		t.line("    Times from %s to %s.", clockText(*p.Oldest), clockText(*p.Newest))
	}
	if p.Clock != nil && (*p.Clock > 2 || *p.Clock < -2) {
		t.line("    The server's clock and this machine's are %s apart.", recipe.FormatDuration(time.Duration(max(*p.Clock, -*p.Clock)*float64(time.Second)).Round(time.Second)))
	}
	if p.Wait > 0 {
		t.line("    The API wants to be left alone for %s now.", recipe.FormatDuration(time.Duration(p.Wait*float64(time.Second)).Round(time.Second)))
	}
	switch {
	case p.End && p.Next != "":
		t.line("    The list ends here for now; it goes on later at %s.", cut(p.Next, 100))
	case p.End:
		t.line("    The list ends here.")
	default:
		t.line("    The next page is at %s.", cut(p.Next, 100))
	}
}

// lacking ends the sentence of what was recognised.
func lacking(p *probePage) string {
	var lacks []string
	for _, l := range []struct {
		n    int
		what string
	}{
		{p.Broken, "can't be events"},
		{p.WithoutID, "without an id, known by a hash of their content"},
		{p.WithoutType, "without a type"},
		{p.WithoutTime, "without a time"},
	} {
		if l.n > 0 {
			lacks = append(lacks, fmt.Sprintf("%d %s", l.n, l.what))
		}
	}
	switch {
	case len(lacks) > 0:
		return ": " + strings.Join(lacks, ", ") + "."
	case p.Items > 0:
		return ", each with id, type and time."
	}
	return "."
}

func (t *teller) events(r *probeReport) {
	if len(r.Events) == 0 {
		t.line("No event was listed.")
		t.line("")
		return
	}
	var counts []string
	for _, verdict := range verdicts {
		if n := r.Counts[verdict]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, verdict))
		}
	}
	t.line("%s listed: %s.", plural(len(r.Events), "event", "events"), strings.Join(counts, ", "))
	shown := r.Events
	if len(shown) > shownEvents {
		t.byType(r)
		shown = slices.Concat(shown[:shownEvents/2], shown[len(shown)-shownEvents/2:])
		t.line("The first and the last %d of them:", shownEvents/2)
	}
	rows := &table{}
	rows.add("", "VERDICT", "TIME", "TYPE", "ID", "WHY")
	for _, e := range shown {
		at := "-"
		if e.Time != nil {
			at = clockText(*e.Time)
		}
		rows.add("", e.Verdict, at, cut(e.Type, 50), cut(e.ID, 60), cut(e.Why, 160))
	}
	if t.err == nil {
		var text bytes.Buffer
		_ = rows.print(&text) // a buffer takes everything
		_, t.err = t.out.Write(text.Bytes())
	}
	t.line("")
}

// byType counts the types under each verdict.
func (t *teller) byType(r *probeReport) {
	types := map[string]map[string]int{}
	for _, e := range r.Events {
		if types[e.Verdict] == nil {
			types[e.Verdict] = map[string]int{}
		}
		types[e.Verdict][e.Type]++
	}
	for _, verdict := range verdicts {
		if len(types[verdict]) == 0 {
			continue
		}
		names := slices.SortedFunc(maps.Keys(types[verdict]), func(a, b string) int {
			if d := types[verdict][b] - types[verdict][a]; d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		var parts []string
		for _, name := range names[:min(len(names), shownEvents)] {
			text := name
			if text == "" {
				text = "(no type)"
			}
			parts = append(parts, cut(text, 50)+" "+strconv.Itoa(types[verdict][name]))
		}
		if more := len(names) - len(parts); more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more types", more))
		}
		t.line("    %s: %s", verdict, strings.Join(parts, ", "))
	}
}

func (t *teller) end(r *probeReport) {
	if r.Counts[verdictNew] > 0 {
		var parts []string
		for _, sink := range slices.Sorted(maps.Keys(r.Sinks)) {
			parts = append(parts, fmt.Sprintf("%s %d", sink, r.Sinks[sink]))
		}
		text := "no sink wants them"
		if len(parts) > 0 {
			text = strings.Join(parts, ", ")
		}
		t.line("The new ones would go to: %s.", text)
	}
	for _, gap := range r.Gaps {
		sure := "possible"
		if gap.Certain {
			sure = "certain"
		}
		t.line("A %s gap would be told: %s.", sure, gap.Why)
	}
	switch {
	case r.Error != "":
		t.line("The poll failed: %s.", strings.TrimSuffix(r.Error, "."))
		t.line("%s", advice(r))
	case !r.Complete:
		t.line("The daemon would go on from there at once; the probe ended before the list did.")
	}
	if bytes.Equal(compact(r.Before.Stored), compact(r.After.Stored)) {
		t.line("The position would stay as it is: %s", storedText(r.After.Stored))
	} else {
		t.place("The next position would be", r.After)
		t.line("It would be stored as %s", storedText(r.After.Stored))
	}
	if r.Saved != "" {
		t.line("")
		t.line("The poll is kept in %s. The bodies of the answers are in it: your customers' data, perhaps. Look at it before you send it to anybody.", r.Saved)
		t.line(`"tidings probe --from %s" polls it again.`, r.Saved)
	}
}

// advice says what to do about a poll that failed.
func advice(r *probeReport) string {
	switch event.SourceHealth(r.Health) {
	case event.SourceRefused:
		return "The daemon would ask again with backoff, up to 15 minutes apart, until the API takes the account: check the credentials and what they may do."
	case event.SourceLimited:
		if r.Wait > 0 {
			return "The daemon would ask again in " + recipe.FormatDuration(time.Duration(r.Wait*float64(time.Second)).Round(time.Second)) + ", as the API wants it. Wait for that before the next probe."
		}
		return "The daemon would ask again with backoff. Wait before the next probe, or poll less often (every)."
	}
	return "The daemon would ask again with backoff, and lose nothing by it."
}

// storedText is the beginning of a stored position.
func storedText(stored []byte) string {
	const most = 300
	text := string(compact(stored))
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s (%d characters; --json shows all)", cut(text, most), len(text))
}

// clockText is a time as a person reads it, in UTC.
func clockText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// compact is JSON on one line.
func compact(text []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}
