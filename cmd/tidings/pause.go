package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tidings/admin"
)

func newPauseCommand() *cobra.Command {
	return pauseCommand("pause", "Stop delivering to a sink until it is resumed", `Nothing more is attempted at the sink, over restarts too, until "tidings resume sink NAME". What it is owed is kept and
grows; the age of what fails there stands still.`, true)
}

func newResumeCommand() *cobra.Command {
	return pauseCommand("resume", "Deliver to a paused sink again", `Delivers again to a sink that a person paused, or that paused itself because its endpoint answered 410 Gone. A sink that is
down needs no resuming: it is probed and recovers by itself.`, false)
}

func pauseCommand(verb, short, long string, pause bool) *cobra.Command {
	var asJSON, dryRun bool
	cmd := &cobra.Command{
		Use:   verb + " sink NAME",
		Short: short,
		Long:  long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 || args[0] != "sink" {
				return exit(exitUsage, "%s takes the word sink and a sink's name; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
				change, err := client.Pause(ctx, admin.PauseRequest{Sink: args[1], DryRun: dryRun}, pause)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), change)
				}
				return printPause(cmd.OutOrStdout(), change, verb+"d", dryRun)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change and change nothing")
	return cmd
}

func printPause(out io.Writer, change admin.PauseChange, done string, dryRun bool) error {
	owed := plural(int(change.Owed), "event", "events")
	var err error
	switch {
	case !change.Changed:
		_, err = fmt.Fprintf(out, "Sink %s is %s: nothing to change.\n", change.Sink, change.Was)
	case dryRun:
		_, err = fmt.Fprintf(out, "Sink %s would be %s; it is owed %s.\n", change.Sink, done, owed)
	default:
		_, err = fmt.Fprintf(out, "Sink %s is %s; it is owed %s.\n", change.Sink, done, owed)
	}
	return err
}
