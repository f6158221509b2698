package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"tidings/admin"
	"tidings/config"
	"tidings/event"
)

// demoPrinter tells each event and what became of it: one line when every sink has answered for the first time, and one
// more for each later attempt.
type demoPrinter struct {
	out    io.Writer
	colour bool
	quiet  bool // no lines, only the summary
	source string
	sinks  []string // in the order of the configuration

	mu       sync.Mutex
	rows     map[string]map[string]string // event -> sink -> what it said; only rows that wait for a sink
	takenIn  int                          // by a poll that has not ended, too: its events are delivered already
	notNew   int                          // listed by polls that have ended, and not taken in
	repeated int                          // of these, known already
	counts   map[string]demoCount
}

type demoCount struct{ delivered, retried int }

const (
	green  = "32"
	yellow = "33"
	red    = "31"
	dim    = "2"
)

func newDemoPrinter(out io.Writer, quiet bool, cfg *config.Config) *demoPrinter {
	p := &demoPrinter{
		out: out, colour: admin.Colour(out), quiet: quiet, source: cfg.Sources[0].Name,
		rows: map[string]map[string]string{}, counts: map[string]demoCount{},
	}
	for _, s := range cfg.Sinks {
		p.sinks = append(p.sinks, s.Name)
	}
	return p
}

func (p *demoPrinter) paint(code, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *demoPrinter) printf(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.out, format, args...)
	}
}

func (p *demoPrinter) intro(about, dir string, length time.Duration) {
	end := "Ctrl-C ends it"
	if length > 0 {
		end = fmt.Sprintf("it ends after %s", length)
	}
	p.printf(`A simulated %s is polled every second; %s.
Each of its events goes to three sinks:
  app      an HTTP endpoint that refuses one request in five
  archive  a file, one JSON line an event
  script   a program, run for each event
Everything is in %s

`, about, end, dir)
}

// notify is called from several goroutines at once.
func (p *demoPrinter) notify(n event.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch n := n.(type) {
	case event.TakenIn:
		p.takenIn += len(n.Events)
	case event.Polled:
		p.notNew += n.Listed - n.New
		p.repeated += n.Repeated
	case event.PollFailed:
		p.line(n.At, p.paint(red, "poll failed: "+n.Err.Error()))
	case event.GapFound:
		p.line(n.Gap.Found, p.paint(red, "gap: "+n.Gap.Why))
	case event.SinkChanged:
		text := fmt.Sprintf("sink %s is %s", n.Sink, n.Health)
		if n.Reason != "" {
			text += ": " + n.Reason
		}
		p.line(n.At, p.paint(yellow, text))
	case event.Attempted:
		p.attempted(n)
	}
}

func (p *demoPrinter) counted() demoSource {
	return demoSource{Listed: p.takenIn + p.notNew, TakenIn: p.takenIn, Repeated: p.repeated}
}

func (p *demoPrinter) attempted(a event.Attempted) {
	c := p.counts[a.Sink]
	switch a.Outcome {
	case event.Delivered:
		c.delivered++
	case event.Retry:
		c.retried++
	}
	p.counts[a.Sink] = c

	said := a.Sink + " " + p.outcome(a)
	facts := fmt.Sprintf("%-25s %s", cut(a.Type, 25), p.paint(dim, short(a.ID)))
	row := p.rows[a.ID]
	switch {
	case a.Number == 1 && row == nil:
		row = map[string]string{a.Sink: said}
		p.rows[a.ID] = row
	case a.Number == 1:
		row[a.Sink] = said
	case row != nil: // its line waits for another sink still
		row[a.Sink] += ", then " + p.outcome(a)
	default:
		p.line(a.At, facts+"  "+said)
		return
	}
	if len(row) < len(p.sinks) {
		return
	}
	delete(p.rows, a.ID)
	var cells []string
	for _, sink := range p.sinks {
		cells = append(cells, row[sink])
	}
	p.line(a.At, facts+"  "+strings.Join(cells, "  "))
}

func (p *demoPrinter) outcome(a event.Attempted) string {
	reason := a.Reason
	if _, after, found := strings.Cut(reason, " answered "); found { // the status alone, so that a line fits into 80 columns
		reason, _, _ = strings.Cut(after, " ")
	}
	switch a.Outcome {
	case event.Delivered:
		text := "ok"
		if a.Number > 1 {
			text = fmt.Sprintf("ok at attempt %d", a.Number)
		}
		return p.paint(green, text)
	case event.Retry:
		return p.paint(yellow, fmt.Sprintf("%s, again in %s", reason, a.Wait.Round(100*time.Millisecond)))
	default:
		return p.paint(red, "given up: "+reason)
	}
}

func (p *demoPrinter) line(at time.Time, text string) {
	p.printf("%s  %s\n", p.paint(dim, at.Format(time.TimeOnly)), text)
}

func (p *demoPrinter) table(s demoSummary, stats []event.SinkStats) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\nSOURCE\tLISTED\tTAKEN IN\tREPEATED BY THE API")
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\n\n", p.source, s.Source.Listed, s.Source.TakenIn, s.Source.Repeated)
	fmt.Fprintln(w, "SINK\tDELIVERED\tRETRIED\tOWED\tDEAD")
	for _, sink := range stats {
		c := s.Sinks[sink.Name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", sink.Name, c.Delivered, c.Retried, c.Owed, c.Dead)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.out, `
The files are in %s:
  config.yaml    the configuration that ran
  events/        what the file sink wrote
  seen.txt       what the program wrote
  store.db       the place in the API, and what each sink is owed
`, s.Directory)
	return nil
}

// short abbreviates an id in the middle.
func short(id string) string {
	if len(id) <= 16 {
		return id
	}
	return id[:8] + "…" + id[len(id)-4:]
}
