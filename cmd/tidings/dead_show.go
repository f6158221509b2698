package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tidings/admin"
)

func newDeadShowCommand() *cobra.Command {
	var which deadFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show (ID... | --sink SINK | --all)",
		Short: "Show all about dead letters: the last attempt, the answer, the body",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				ids = []string{""}
			}
			return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
				return showDead(ctx, cmd.OutOrStdout(), client, which.sink, ids, asJSON)
			})
		},
	}
	which.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// showDead shows the dead letters with each of the ids; the empty id is any.
func showDead(ctx context.Context, out io.Writer, client *admin.Client, sink string, ids []string, asJSON bool) error {
	shown := 0
	for _, id := range ids {
		before := shown
		for letter, err := range client.Dead(ctx, sink, id, true) {
			if err != nil {
				return err
			}
			if shown > 0 && !asJSON {
				fmt.Fprintln(out)
			}
			shown++
			if asJSON {
				err = printJSON(out, newDeadJSON(letter))
			} else {
				err = printLetter(out, letter, time.Now())
			}
			if err != nil {
				return err
			}
		}
		if id != "" && shown == before {
			of := ""
			if sink != "" {
				of = " of sink " + sink
			}
			return fmt.Errorf("no dead letter%s has the id %q; see tidings dead list", of, cut(id, 100))
		}
	}
	if shown == 0 && !asJSON {
		return noDeadLetters(out, sink)
	}
	return nil
}

// deadJSON is a dead letter as `dead show --json` prints it: the body is embedded where it is JSON, as in an envelope.
type deadJSON struct {
	admin.DeadLetter
	ReceivedAt  *time.Time      `json:"received_at"`
	AttemptedAt *time.Time      `json:"attempted_at"`
	Took        float64         `json:"took"` // seconds
	Answer      string          `json:"answer"`
	Data        json.RawMessage `json:"data,omitempty"`
	DataBase64  []byte          `json:"data_base64,omitempty"`
}

func newDeadJSON(letter admin.DeadLetter) deadJSON {
	d := letter.Detail
	letter.Detail = nil
	j := deadJSON{DeadLetter: letter, ReceivedAt: d.ReceivedAt, AttemptedAt: d.AttemptedAt, Took: d.Took, Answer: d.Answer}
	if json.Valid(d.Body) {
		j.Data = d.Body
	} else {
		j.DataBase64 = d.Body
	}
	return j
}

// printLetter shows one dead letter to a person. The body stands last, as it is, unless a terminal would be confused by it.
func printLetter(out io.Writer, letter admin.DeadLetter, now time.Time) error {
	d := letter.Detail
	moment := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339) + " (" + ago(t, now) + ")"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s at sink %s\n", printable(letter.ID), letter.Sink)
	for _, fact := range [][2]string{
		{"source", letter.Source},
		{"type", letter.Type},
		{"happened", moment(letter.Time)},
		{"taken in", moment(d.ReceivedAt)},
		{"given up", moment(&letter.DeadAt) + " after " + plural(letter.Attempts, "attempt", "attempts")},
		{"last try", fmt.Sprintf("%s, took %s", moment(d.AttemptedAt), time.Duration(d.Took*float64(time.Second)).Round(time.Millisecond))},
		{"reason", letter.Reason},
	} {
		fmt.Fprintf(&b, "  %-9s  %s\n", fact[0], printable(fact[1]))
	}
	if d.Answer != "" {
		fmt.Fprintln(&b, "  answer")
		for _, line := range printableLines(d.Answer) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	fmt.Fprintln(&b, "  body")
	body := string(d.Body)
	if isTerminal(out) || !utf8.ValidString(body) {
		body = strings.Join(printableLines(body), "\n")
	}
	b.WriteString(strings.TrimSuffix(body, "\n") + "\n")
	_, err := io.WriteString(out, b.String())
	return err
}
