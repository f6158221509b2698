package main

import (
	"cmp"
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
store, which does not know what only a daemon knows (last polls, the next ones).

LAG is the time since the last poll that went well: then the source was caught up. POSITION is the age of the newest event that was
seen, PLACE the API's cursor or that event's id, in short. NEW counts since the daemon's start, GAPS since ever.

With --check it prints one line for a monitor and exits 0 (all is well), 1 (a person should look) or 2 (events are not
coming in or not going out, or no daemon runs).`,
		Example: `  tidings status
  tidings status --json | jq '.sinks | map_values(.owed)'
  tidings status --check`,
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
	told := cut(printable(status.Message), 600)
	if _, err := fmt.Fprintf(out, "%s.\n\n", capital(told)); err != nil {
		return err
	}

	sources := &table{colour: colour}
	sources.add("", "SOURCE", "STATE", "LAG", "NEXT POLL", "POSITION", "PLACE", "NEW", "GAPS")
	for _, name := range slices.Sorted(maps.Keys(status.Sources)) {
		s := status.Sources[name]
		taken := strconv.FormatUint(s.New, 10)
		if s.State == admin.StateStopped {
			taken = "-"
		}
		sources.add(stateColour(s.State), name, s.State, lag(s.Lag), coming(s.NextPoll, now), ago(s.Position, now), placeWord(s.Standing),
			taken, strconv.Itoa(s.Gaps))
		sources.note(unsaid(s.Error, told))
		for _, feed := range slices.Sorted(maps.Keys(s.Feeds)) {
			sources.add("", "  "+feed, "", "", "", ago(s.Feeds[feed].Position, now), placeWord(s.Feeds[feed]), "", "")
		}
	}
	sinks := &table{colour: colour}
	sinks.add("", "SINK", "STATE", "OWED", "OLDEST", "RETRYING", "DEAD")
	for _, name := range slices.Sorted(maps.Keys(status.Sinks)) {
		s := status.Sinks[name]
		state := s.State
		if s.HeldUntil != nil {
			state += ", next try " + ago(s.HeldUntil, now) // the sink asked for that
		}
		sinks.add(stateColour(s.State), name, state, strconv.FormatUint(s.Owed, 10), ago(s.Oldest, now), strconv.Itoa(s.Retrying), strconv.Itoa(s.Dead))
		sinks.note(unsaid(s.Error, told))
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

// coming says when something is to be; what should have been is being done.
func coming(t *time.Time, now time.Time) string {
	if t != nil && !t.After(now) {
		return "now"
	}
	return ago(t, now)
}

// unsaid is an error in short, unless what was told has it already.
func unsaid(text, told string) string {
	if text = printable(text); strings.Contains(told, text) {
		return ""
	}
	return cut(text, 200)
}

// placeWord says in a word where a list stands.
func placeWord(s admin.Standing) string {
	switch {
	case s.Lost:
		return "lost"
	case s.Walking:
		return "catching up"
	}
	return cmp.Or(s.Cursor, s.LastID, "-")
}

// standing reads where a source stands from its stored position.
func standing(position []byte) admin.Standing {
	place, err := poller.Describe(position)
	if err != nil {
		return admin.Standing{} // the poller tells that it can't go on from it
	}
	return standingOf(place)
}

func standingOf(p poller.Place) admin.Standing {
	cursor, _, _ := strings.Cut(p.Cursor, "?") // the query of a link may hold a credential
	s := admin.Standing{LastID: short(p.Newest), Cursor: short(cursor), Walking: p.Walking, Lost: p.Lost}
	if !p.Time.IsZero() {
		s.Position = new(p.Time.UTC().Truncate(time.Millisecond))
	}
	for _, feed := range p.Feeds {
		if s.Feeds == nil {
			s.Feeds = map[string]admin.Standing{}
		}
		s.Feeds[feed.Name] = standingOf(feed)
	}
	return s
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
