package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidings/admin"
	"tidings/event"
)

func newDeadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List, show, retry and drop dead letters",
		Long: `A dead letter is a delivery that was given up on: one event that one sink did not take. It is kept, with the event's body,
until a person sends it again or drops it. These commands work beside a running daemon and on the store of a stopped one.`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeadListCommand(), newDeadShowCommand(), newDeadRetryCommand(), newDeadDropCommand())
	return cmd
}

func newDeadListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [SINK]",
		Short: "List dead letters, of one sink or of all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exit(exitUsage, "%s takes one sink at most, got %d; see %s --help", cmd.CommandPath(), len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			sink := ""
			if len(args) == 1 {
				sink = args[0]
			}
			return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
				return listDead(ctx, cmd.OutOrStdout(), client, sink, asJSON, time.Now())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// listDead prints a table, a part at a time: however many dead letters there are, few are in memory.
func listDead(ctx context.Context, out io.Writer, client *admin.Client, sink string, asJSON bool, now time.Time) error {
	const part = 500
	var rows table
	rows.add("", "SINK", "GIVEN UP", "ATTEMPTS", "SOURCE", "TYPE", "ID", "REASON")
	var n int
	for letter, err := range client.Dead(ctx, sink, "", false) {
		if err != nil {
			return err
		}
		n++
		if asJSON {
			if err := printJSON(out, letter); err != nil {
				return err
			}
			continue
		}
		rows.add("", letter.Sink, ago(&letter.DeadAt, now), strconv.Itoa(letter.Attempts), letter.Source,
			letter.Type, letter.ID, cut(letter.Reason, 100))
		if len(rows.rows) == part {
			if err := rows.print(out); err != nil {
				return err
			}
			rows = table{}
		}
	}
	switch {
	case asJSON:
		return nil
	case n == 0:
		return noDeadLetters(out, sink)
	}
	return rows.print(out)
}

func noDeadLetters(out io.Writer, sink string) error {
	of := ""
	if sink != "" {
		of = " of sink " + sink
	}
	_, err := fmt.Fprintf(out, "There are no dead letters%s.\n", of)
	return err
}

// deadFlags say which dead letters a command is about.
type deadFlags struct {
	sink string
	all  bool
}

func (f *deadFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.sink, "sink", "", "those of this sink; beside IDs: only at this sink")
	cmd.Flags().BoolVar(&f.all, "all", false, "all of them")
	cmd.Args = func(cmd *cobra.Command, ids []string) error {
		switch {
		case f.all && (f.sink != "" || len(ids) > 0):
			return exit(exitUsage, "--all goes with no ID and no --sink; see %s --help", cmd.CommandPath())
		case !f.all && f.sink == "" && len(ids) == 0:
			return exit(exitUsage, "name dead letters: ID..., --sink SINK or --all; see %s --help", cmd.CommandPath())
		case slices.Contains(ids, ""):
			return exit(exitUsage, "an ID is empty; see %s --help", cmd.CommandPath())
		}
		return nil
	}
}

func newDeadRetryCommand() *cobra.Command {
	return newDeadChangeCommand(deadChange{
		verb: "send", tail: " again", past: "Sent", sends: true,
		apply: (*admin.Client).RetryDead,
	}, &cobra.Command{
		Use:   "retry (ID... | --sink SINK | --all)",
		Short: "Send dead letters again",
		Long: `Makes dead letters owed again: they are due at once, with a new age; the attempt count goes on. An event that several sinks
gave up on is sent to each of them, unless --sink names one.`,
	})
}

func newDeadDropCommand() *cobra.Command {
	return newDeadChangeCommand(deadChange{
		verb: "drop", past: "Dropped",
		apply: (*admin.Client).DropDead,
	}, &cobra.Command{
		Use:   "drop (ID... | --sink SINK | --all)",
		Short: "Forget dead letters for good",
		Long:  `Forgets dead letters and what they hold of their events. This can't be undone.`,
	})
}

// deadChange is a change of dead letters, and how it is told.
type deadChange struct {
	verb, tail, past string
	sends            bool
	apply            func(*admin.Client, context.Context, admin.DeadSelection) (admin.DeadChange, error)
}

func newDeadChangeCommand(change deadChange, cmd *cobra.Command) *cobra.Command {
	var which deadFlags
	var asJSON, dryRun, yes bool
	which.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the count as one JSON object")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say how many there are and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before a change of many")
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		sel := admin.DeadSelection{IDs: ids, Sink: which.sink, All: which.all, DryRun: dryRun}
		return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
			if len(ids) == 0 && !yes && !dryRun {
				if err := change.confirm(ctx, cmd, client, sel); err != nil {
					return err
				}
			}
			result, err := change.apply(client, ctx, sel)
			if err != nil {
				return err
			}
			if err := change.tell(cmd.OutOrStdout(), result, sel, asJSON); err != nil || !change.sends || dryRun || asJSON {
				return err
			}
			return tellWaiting(ctx, cmd.OutOrStdout(), client, result)
		})
	}
	return cmd
}

// confirm counts what a bulk change would meet and asks.
func (c deadChange) confirm(ctx context.Context, cmd *cobra.Command, client *admin.Client, sel admin.DeadSelection) error {
	sel.DryRun = true
	plan, err := c.apply(client, ctx, sel)
	if err != nil || plan.Count == 0 { // without any it changes nothing, and is told as any other
		return err
	}
	return proceed(cmd, fmt.Sprintf("%s %s%s (%s)", c.verb, plural(plan.Count, "dead letter", "dead letters"), c.tail, perSink(plan)), false)
}

func (c deadChange) tell(out io.Writer, result admin.DeadChange, sel admin.DeadSelection, asJSON bool) error {
	if asJSON {
		return printJSON(out, struct {
			admin.DeadChange
			DryRun bool `json:"dry_run"`
		}{result, sel.DryRun})
	}
	if result.Count == 0 {
		return noDeadLetters(out, sel.Sink)
	}
	did := c.past
	if sel.DryRun {
		did = "Would " + c.verb
	}
	_, err := fmt.Fprintf(out, "%s %s%s (%s).\n", did, plural(result.Count, "dead letter", "dead letters"), c.tail, perSink(result))
	return err
}

// tellWaiting says at which sinks what was sent again has to wait.
func tellWaiting(ctx context.Context, out io.Writer, client *admin.Client, result admin.DeadChange) error {
	status, err := client.Status(ctx)
	for _, sink := range slices.Sorted(maps.Keys(result.Sinks)) {
		switch status.Sinks[sink].State {
		case event.Paused.String():
			fmt.Fprintf(out, "Sink %s is paused: nothing goes out until you say tidings resume sink %s.\n", sink, sink)
		case event.Down.String():
			fmt.Fprintf(out, "Sink %s is down: they go out when it works again.\n", sink)
		case admin.StateRemoved:
			fmt.Fprintf(out, "Sink %s is no longer configured: they go out when it is.\n", sink)
		}
	}
	return err
}

// perSink says "app 3, archive 1".
func perSink(change admin.DeadChange) string {
	var parts []string
	for _, sink := range slices.Sorted(maps.Keys(change.Sinks)) {
		parts = append(parts, fmt.Sprintf("%s %d", sink, change.Sinks[sink]))
	}
	return strings.Join(parts, ", ")
}
