package main

import (
	"context"
	"encoding/json"
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
	"tidings/poller"
	"tidings/recipe"
)

func newStatusCommand() *cobra.Command {
	var asJSON, check bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how sources, sinks and the store do",
		Long: `Shows how every source and every sink does, and what is wrong. Beside a running daemon it asks that; else it reads the
store, which does not know what only a daemon knows (last polls, the next ones). POSITION is the time of the newest event that
was seen, LAG the time since the source was last known caught up. LISTED and NEW count since the daemon's start.

With --check it prints one line for a monitor and exits 0 (all is well), 1 (a person should look) or 2 (events are not
coming in or not going out, or no daemon runs).`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON && check {
				return exit(exitUsage, "--check prints one line: it does not go with --json")
			}
			if check {
				return checkStatus(cmd)
			}
			return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
				status, err := client.Status(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), status)
				}
				return printStatus(cmd.OutOrStdout(), status, time.Now())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&check, "check", false, "print one line and exit 0, 1 or 2, as monitors expect")
	return cmd
}

// checkStatus answers a monitor. Whatever keeps it from knowing is critical too: a monitor knows no other exit codes.
func checkStatus(cmd *cobra.Command) error {
	var result admin.Check
	err := withAdmin(cmd, func(ctx context.Context, client *admin.Client) (err error) {
		result, err = client.Check(ctx)
		return err
	})
	if err != nil {
		result = admin.Check{Level: admin.LevelCritical, Message: strings.Join(strings.Fields(err.Error()), " ")}
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", strings.ToUpper(result.Level.String()), printable(result.Message)); err != nil {
		return err
	}
	if result.Level == admin.LevelOK {
		return nil
	}
	return &exitError{code: int(result.Level)}
}

// printStatus shows a status to a person.
func printStatus(out io.Writer, status admin.Status, now time.Time) error {
	colour := admin.Colour(out)
	if _, err := fmt.Fprintf(out, "%s.\n\n", capital(cut(printable(status.Message), 400))); err != nil {
		return err
	}

	sources := &table{colour: colour}
	sources.add("", "SOURCE", "STATE", "LAST SUCCESS", "NEXT POLL", "POSITION", "LAG", "LISTED", "NEW", "GAPS", "ERROR")
	for _, name := range slices.Sorted(maps.Keys(status.Sources)) {
		s := status.Sources[name]
		sources.add(stateColour(s.State), name, s.State, ago(s.LastSuccess, now), ago(s.NextPoll, now), ago(s.Position, now), lag(s.Lag),
			strconv.FormatUint(s.Listed, 10), strconv.FormatUint(s.New, 10), strconv.Itoa(s.Gaps), cut(s.Error, 100))
	}
	sinks := &table{colour: colour}
	sinks.add("", "SINK", "STATE", "OWED", "OLDEST", "RETRYING", "DEAD", "ERROR")
	for _, name := range slices.Sorted(maps.Keys(status.Sinks)) {
		s := status.Sinks[name]
		state := s.State
		if s.HeldUntil != nil {
			state += ", next try " + ago(s.HeldUntil, now) // the sink asked for that
		}
		sinks.add(stateColour(s.State), name, state, strconv.FormatUint(s.Owed, 10), ago(s.Oldest, now),
			strconv.Itoa(s.Retrying), strconv.Itoa(s.Dead), cut(s.Error, 100))
	}
	for _, t := range []*table{sources, sinks} {
		if len(t.rows) == 1 {
			continue
		}
		if err := t.print(out); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintf(out, "store %s: %s, %s of it in use; %s kept, %d ids remembered\n",
		status.Store.Path, bytesText(status.Store.Size), bytesText(status.Store.Used),
		plural(int(status.Store.Events), "event", "events"), status.Store.IDs)
	return err
}

// lag shows seconds as a person counts them.
func lag(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return recipe.FormatDuration(time.Duration(*seconds * float64(time.Second)).Round(time.Second))
}

// newest reads from a stored position when the newest event that was seen happened; zero where it does not say.
func newest(position []byte) time.Time {
	place, err := poller.Describe(position)
	if err != nil {
		return time.Time{} // the poller tells that it can't go on from it
	}
	return place.Time
}

func stateColour(state string) string {
	switch state {
	case string(event.SourceOK), event.Up.String():
		return green
	case string(event.SourceFailing), string(event.SourceRefused), string(event.SourceBlocked), event.Down.String():
		return red
	case string(event.SourceLimited), event.Paused.String():
		return yellow
	}
	return ""
}

// printJSON prints one object on one line, with the characters that it has.
func printJSON(out io.Writer, value any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}
