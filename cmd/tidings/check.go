package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidings/admin"
	"tidings/config"
)

func newCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and say what it would do",
		Long: `Reads the configuration as the daemon would, secrets and credentials included, and says what it would do.
It asks no API, delivers nothing and writes nothing. All problems are told at once; the exit code is then 78.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := buildable(cfg); err != nil {
				return &exitError{exitConfig, err}
			}
			return explain(cmd.OutOrStdout(), cfg)
		},
	}
}

// buildable builds the parts that cfg describes, as the daemon would, and lets go of them.
func buildable(cfg *config.Config) error {
	errs := []error{admin.CheckPath(cfg.Control)}
	for _, s := range cfg.Sources {
		_, err := newFetcher(s)
		errs = append(errs, err)
	}
	for _, s := range cfg.Sinks {
		_, err := newSink(s)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// explain prints what cfg would do.
func explain(out io.Writer, cfg *config.Config) error {
	fmt.Fprintf(out, "%s is valid.\n\n", cfg.File)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tAPI\tPOLLED\tSTARTS\tEVENTS")
	for _, s := range cfg.Sources {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Identity, schedule(s), start(s.Start), strings.Join(s.Events, " "))
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "SINK\tDELIVERS TO\tSOURCES\tEVENTS\tGIVES UP AFTER")
	for _, s := range cfg.Sinks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Target, strings.Join(s.Sources, " "), strings.Join(s.Events, " "), duration(s.Retry.GiveUpAfter))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nThe store is in %s, the control socket is %s.\n", cfg.DataDir, cfg.Control)
	return err
}

func schedule(s config.Source) string {
	if s.Cron != nil {
		return fmt.Sprintf("cron %q", s.CronSpec)
	}
	text := "every " + duration(s.Every)
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

// duration prints d without the units that are zero: 1m, not 1m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
