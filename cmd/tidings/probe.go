package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/config"
	"tidings/event"
	"tidings/poller"
	"tidings/sources"
)

const (
	probePages  = 10        // of a list, unless --pages says otherwise
	probeMemory = 256 << 20 // bytes of bodies that a walk may hold: its pages are not to be fetched twice
)

func newProbeCommand() *cobra.Command {
	var save, from string
	var pages int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "probe (SOURCE | --from DIR)",
		Short: "Poll a source once and tell each step; write, deliver and acknowledge nothing",
		Long: `Polls one source once, as the daemon would, and tells it step by step: each request, its answer, what was recognised in it, which
events are new and why, who would get them, and where the source would stand then. Nothing is written to the store, nothing is
delivered, nothing is acknowledged. It works beside a running daemon and without one. What comes from the configuration's values is
not shown.

--save DIR keeps the poll as files, with the values of secrets replaced; --from DIR polls them again, without configuration and network.
These files hold the events' bodies as the API gave them: look at them before you send them to anybody.

Exit codes: 0 the poll went well; 1 it failed; 75 the API asks to be asked later; 78 the configuration is wrong.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case from != "" && (len(args) > 0 || save != ""):
				return exit(exitUsage, "--from goes with no source and no --save: the recording says what is polled; see %s --help", cmd.CommandPath())
			case from == "" && len(args) != 1:
				return exit(exitUsage, "name one source, or a recording with --from DIR; see %s --help", cmd.CommandPath())
			case pages < 0 || pages == 0 && cmd.Flags().Changed("pages"):
				return exit(exitUsage, "--pages takes how many pages of a list are asked for, at least 1")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var r *probeReport
			var err error
			if from != "" {
				r, err = probeAgain(cmd.Context(), from, pages)
			} else {
				r, err = probeSource(cmd, args[0], pages, save)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				err = printProbe(cmd.OutOrStdout(), r)
			}
			if err != nil {
				return err
			}
			return r.verdict()
		},
	}
	cmd.Flags().StringVar(&save, "save", "", "keep the poll in `DIR`, which must be empty or not there yet")
	cmd.Flags().StringVar(&from, "from", "", "poll the recording in `DIR` again")
	cmd.Flags().IntVar(&pages, "pages", 0, "how many `PAGES` of a list are asked for (default 10)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// probe is one poll that is told and not kept: all that it depends on, beside what the API answers.
type probe struct {
	Source     config.Source
	Sinks      []event.SinkSpec
	Remember   time.Duration
	At         time.Time // when it began
	Pages      int       // of a list
	Generation uint64
	Position   []byte // nil: the source was never polled
	Note       string // what is odd about the position
}

// probeSource polls a configured source.
func probeSource(cmd *cobra.Command, name string, pages int, save string) (*probeReport, error) {
	cfg, err := loadConfig(cmd)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(cfg.Sources, func(s config.Source) bool { return s.Name == name })
	if at < 0 {
		var names []string
		for _, s := range cfg.Sources {
			names = append(names, s.Name)
		}
		return nil, exit(exitUsage, "%s has no source %q; there is %s", cfg.File, name, strings.Join(names, ", "))
	}
	p := &probe{Source: cfg.Sources[at], Sinks: topology(cfg).Sinks, Remember: cfg.Store.Remember, At: time.Now(), Pages: pages}
	p.Source.Reload = nil // the values are as new as the poll
	if p.Pages == 0 {
		p.Pages = probePages
	}
	place, err := storedPlace(cmd, name)
	if err != nil {
		return nil, err
	}
	lookUp := storedIDs(cmd, name)
	p.Generation, p.Position = place.Generation, place.Data
	if place.Identity != "" && place.Identity != p.Source.Identity && place.Data != nil {
		p.Note = fmt.Sprintf("The store has a position of another account or API under this name (%s). The daemon refuses to go on from it, and starts anew with --accept-reset; so does the probe.", place.Identity)
		p.Position, lookUp = nil, noIDs
	}
	var out *recording
	if save != "" {
		if out, err = newRecording(save); err != nil {
			return nil, err
		}
		defer out.close()
	}
	w := &watch{pages: p.Pages, now: time.Now}
	st := newProbeStore(cmd.Context(), event.Position{Generation: p.Generation, Data: p.Position}, lookUp)
	r, err := p.run(cmd.Context(), w, st, sources.Options{Trace: w.exchange})
	if err != nil || out == nil {
		return r, err
	}
	r.Saved = save
	return r, out.write(p, w.exchanges, st.known)
}

// run polls once.
func (p *probe) run(ctx context.Context, w *watch, st *probeStore, o sources.Options) (*probeReport, error) {
	s := p.Source
	o.Open = s.Open
	feeds, err := newFeeds(s, o)
	if err != nil {
		return nil, &exitError{exitConfig, err}
	}
	policy := poller.Lost(s.OnLost)
	for i := range feeds {
		feeds[i] = w.watched(feeds[i], policy)
	}
	polled := (&poller.Poller{
		Source: s.Name, Feeds: feeds, Store: st, Every: time.Minute, Memory: probeMemory,
		Start: firstRun(s.Start), OnLost: policy, Overlap: s.Overlap, Remember: p.Remember,
	}).Poll(ctx)
	if ctx.Err() != nil {
		return nil, exit(exitFailed, "interrupted; nothing was written or acknowledged")
	}
	return p.report(w, st, polled), nil
}

// verdict is how the command ends after a poll that was told.
func (r *probeReport) verdict() error {
	switch {
	case r.Error == "":
		return nil
	case r.Health == string(event.SourceLimited):
		return &exitError{code: exitTempFail}
	}
	return &exitError{code: exitFailed}
}

// printProbe tells a person how a poll went.
func printProbe(out io.Writer, r *probeReport) error {
	t := &teller{out: out}
	t.begin(r)
	t.steps(r)
	t.events(r)
	t.end(r)
	return t.err
}
