package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidings/admin"
	"tidings/config"
	"tidings/recipe"
	"tidings/sources"
	"tidings/store"
)

func newCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and say what it would do",
		Long: `Reads the configuration as the daemon would, secrets and credentials included, and says what it would do, and what it keeps
of what the store has. It asks no API and delivers nothing. All problems are told at once; the exit code is then 78.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := buildable(cfg); err != nil {
				return err
			}
			var kept kept
			if err := withAdmin(cmd, kept.read); err != nil && !errors.Is(err, errNoStore) {
				kept.unknown = err
			}
			return explain(cmd.OutOrStdout(), cfg, &kept, time.Now())
		},
	}
}

// kept is what the store has of sources and sinks; nothing where there is no store yet.
type kept struct {
	places  map[string]admin.Place
	sinks   map[string]admin.SinkStatus
	unknown error // why the store could not be asked
}

func (k *kept) read(ctx context.Context, client *admin.Client) error {
	places, err := client.Places(ctx)
	if err != nil {
		return err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	k.places, k.sinks = places, status.Sinks
	return nil
}

// start says where a source begins, or goes on.
func (k *kept) start(s config.Source, now time.Time) string {
	place, known := k.places[s.Name]
	switch {
	case !known || !place.Polled:
		return start(s.Start)
	case place.Identity != s.Identity:
		return "anew, with --accept-reset only"
	case place.Newest == nil:
		return "goes on"
	default:
		return "goes on at " + ago(place.Newest, now)
	}
}

// buildable builds the parts that cfg describes, as the daemon would, and lets go of them. Its error is a *config.Errors.
func buildable(cfg *config.Config) error {
	unsound := &config.Errors{File: cfg.File}
	add := func(at config.Place, path, name string, err error) {
		if err != nil {
			text := strings.TrimPrefix(err.Error(), name+": ") // the path says it
			unsound.Problems = append(unsound.Problems, config.Problem{Place: at, Path: path, Text: text})
		}
	}
	add(config.Place{Line: 1, Column: 1}, "control", "", admin.CheckPath(cfg.Control))
	for _, s := range cfg.Sources {
		_, err := newFeeds(s, sources.Options{})
		add(s.Place, "sources."+s.Name, "source "+s.Name, err)
	}
	for _, s := range cfg.Sinks {
		_, err := newSink(s)
		add(s.Place, "sinks."+s.Name, "sink "+s.Name, err)
	}
	if len(unsound.Problems) == 0 {
		return nil
	}
	return unsound
}

// explain prints what cfg would do. It fails where the daemon would refuse cfg for what the store has.
func explain(out io.Writer, cfg *config.Config, kept *kept, now time.Time) error {
	fmt.Fprintf(out, "%s is valid.\n\n", cfg.File)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tAPI\tPOLLED\tSTARTS\tEVENTS")
	var moved []string
	for _, s := range cfg.Sources {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Identity, schedule(s), kept.start(s, now), strings.Join(s.Events, " "))
		if place, known := kept.places[s.Name]; known && place.Polled && place.Identity != s.Identity {
			moved = append(moved, s.Name)
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "SINK\tDELIVERS TO\tSOURCES\tEVENTS\tGIVES UP AFTER")
	for _, s := range cfg.Sinks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Target, strings.Join(s.Sources, " "), strings.Join(s.Events, " "), recipe.FormatDuration(s.Retry.GiveUpAfter))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, line := range kept.sinkChanges(cfg) {
		fmt.Fprintln(out, line)
	}
	if kept.unknown != nil {
		fmt.Fprintf(out, "What it keeps of the store is not known: %v.\n", kept.unknown)
	}
	if _, err := fmt.Fprintf(out, "The store is in %s, the control socket is %s.\n", cfg.DataDir, cfg.Control); err != nil {
		return err
	}
	if cfg.Web.Listen != "" {
		fmt.Fprintf(out, "Metrics are at http://%s/metrics.\n", cfg.Web.Listen)
	}
	if len(moved) > 0 {
		return &exitError{exitConfig, &store.IdentityError{Sources: moved}}
	}
	return nil
}

// sinkChanges says what becomes of sinks that were added and removed.
func (k *kept) sinkChanges(cfg *config.Config) []string {
	if k.sinks == nil {
		return nil
	}
	var lines []string
	configured := map[string]bool{}
	for _, s := range cfg.Sinks {
		configured[s.Name] = true
		if was, known := k.sinks[s.Name]; !known {
			lines = append(lines, fmt.Sprintf("Sink %s is new: it gets what is taken in from now on.", s.Name))
		} else if was.State == admin.StateRemoved {
			lines = append(lines, fmt.Sprintf("Sink %s is back: it goes on with the %s that it is owed.", s.Name, plural(int(was.Owed), "event", "events")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.sinks)) {
		if owed := k.sinks[name].Owed; !configured[name] && owed > 0 {
			lines = append(lines, fmt.Sprintf("Sink %s is not configured any more: the %s that it is owed wait for its name to come back.",
				name, plural(int(owed), "event", "events")))
		}
	}
	return lines
}

func schedule(s config.Source) string {
	if s.Cron != nil {
		return fmt.Sprintf("cron %q", s.CronSpec)
	}
	text := "every " + recipe.FormatDuration(s.Every)
	if s.Jitter > 0 {
		text += fmt.Sprintf(" ±%g%%", s.Jitter*100)
	}
	return text
}

func start(s config.Start) string {
	switch {
	case s.Earliest:
		return "at the earliest event listed"
	case !s.At.IsZero():
		return "at " + s.At.UTC().Format(time.RFC3339)
	default:
		return "now"
	}
}
