package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
)

// script makes a program of shell lines.
func script(t *testing.T, lines string, o ExecOptions) *Exec {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list-events")
	check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700))
	o.Source, o.Command = "legacy", append([]string{path}, o.Command...)
	x, err := NewExec(o)
	check(t, err)
	return x
}

func TestWhatAProgramPrints(t *testing.T) {
	for name, test := range map[string]struct {
		printed string
		want    string // ids, position, and whether the program is to be run again at once; or a part of the error
	}{
		"nothing":            {"", "[]  false"},
		"spaces":             {" \n\n", "[]  false"},
		"empty array":        {"[]", "[]  false"},
		"array":              {`[{"id":"a"}, {"id":2}]`, "[a 2]  false"},
		"array over lines":   {"\ufeff[\n  {\"id\": \"a\"},\n  {\"id\": \"b\"}\n]\n", "[a b]  false"},
		"lines":              {"{\"id\":\"a\"}\r\n\n {\"id\":\"b\"} \n", "[a b]  false"},
		"one line":           {`{"id":"a"}`, "[a]  false"},
		"object":             {`{"events":[{"id":"a"}],"position":"p1"}`, "[a] p1 false"},
		"object over lines":  {"{\n\"events\": [\n{\"id\": \"a\"}],\n\"position\": 17, \"more\": true}\n", "[a] 17 true"},
		"object without any": {`{"events":[]}`, "[]  false"},
		"position null":      {`{"events":[],"position":null,"more":false}`, "[]  false"},
		"lines with events":  {`{"id":"a","events":1}` + "\n" + `{"id":"b","events":[]}`, "[a b]  false"},
		"no object":          {`[{"id":"a"},7]`, "[a sha256_7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451]  false"},
		"text":               {"no events today", "is not valid JSON in line 1"},
		"a broken line":      {"{\"id\":1}\n{\"id\":", "is not valid JSON in line 2"},
		"a broken array":     {`[{"id":1}`, "is not valid JSON"},
		"position of a kind": {`{"events":[],"position":{}}`, "has an object at position"},
		"position too long":  {`{"events":[],"position":"` + strings.Repeat("x", maxCursor+1) + `"}`, "has a position of more than"},
		"position with NUL":  {`{"events":[],"position":"\u0000"}`, "NUL character"},
		"more of a kind":     {`{"events":[],"position":"1","more":"yes"}`, "has a string at more"},
		"more of nothing":    {`{"events":[],"more":true}`, "no position to go on from"},
		"nested without end": {strings.Repeat("[", 100_000), "nested deeper"},
		"nested lines":       {strings.Repeat(`{"a":`, 100_000), "nested deeper"},
		"without an id":      {`[{"x":1}]`, "[sha256_" + "5041bf1f713df204784353e82f6a4a535931cb64f1f4b4a5aeaffcb720918b22]  false"},
		"two on a line":      {`{"id":1} {"id":2}`, "is not valid JSON in line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			input := filepath.Join(t.TempDir(), "input")
			write(t, input, test.printed)
			page, err := script(t, `cat "$1"`, ExecOptions{Command: []string{input}}).Fetch(t.Context(), poller.Request{})
			got := ""
			if err != nil {
				got = err.Error()
				if fetchError(t, err).Health != event.SourceFailing || !strings.Contains(got, test.want) {
					t.Errorf("got %.300s, want %s", got, test.want)
				}
				return
			}
			ids := []string{}
			for _, e := range page.Events {
				ids = append(ids, e.ID)
			}
			if got = fmt.Sprintf("%v %s %t", ids, page.Next, !page.Idle); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestWhatAProgramIsTold(t *testing.T) {
	t.Setenv("TIDINGS_LEAK", "1")
	t.Setenv("LANG", "C")
	x := script(t, `printf '[{"id":"%s|%s|%s|%s|%s|%s","type":"%s"}]' "$TIDINGS_SOURCE" "$TIDINGS_POSITION" "$TIDINGS_START" "$TIDINGS_LEAK" "$API_KEY" "$LANG" "$1"`,
		ExecOptions{Command: []string{"a 'b'"}, Env: map[string]event.Secret{"API_KEY": event.NewSecret("k3y")}})
	for _, test := range []struct {
		r    poller.Request
		want string
	}{
		{poller.Request{}, "legacy||||k3y|C a 'b'"},
		{poller.Request{Cursor: "p 1"}, "legacy|p 1|||k3y|C a 'b'"},
		{poller.Request{From: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}, "legacy||2026-01-02T02:04:05Z||k3y|C a 'b'"},
	} {
		page, err := x.Fetch(t.Context(), test.r)
		if err != nil {
			t.Fatal(err)
		}
		if got := page.Events[0].ID + " " + page.Events[0].Type; got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestWhatAnEventOfAProgramIs(t *testing.T) {
	x := script(t, `echo '{"n":1,"v":2,"kind":{"a":"bill"},"at":"2026-07-01 12:00:00"}'`,
		ExecOptions{ID: "{n}@{v}", Type: "{kind.a}.created", Time: "at", Zone: "Europe/London", Layout: "2006-01-02 15:04:05"})
	page, err := x.Fetch(t.Context(), poller.Request{})
	check(t, err)
	e := page.Events[0]
	if e.ID != "1@2" || e.Type != "bill.created" || e.Source != "legacy" || !e.Time.Equal(time.Date(2026, 7, 1, 11, 0, 0, 0, time.UTC)) ||
		string(e.Data) != `{"n":1,"v":2,"kind":{"a":"bill"},"at":"2026-07-01 12:00:00"}` {
		t.Errorf("got %+v", e)
	}
}

func TestHowAProgramEnds(t *testing.T) {
	for name, test := range map[string]struct {
		lines  string
		health event.SourceHealth
		want   string
	}{
		"later":           {`echo '[{"id":"a"}]'; echo wait >&2; exit 75`, event.SourceLimited, "exited with code 75: it asks to be run later (it says: «wait»)"},
		"failed":          {`for i in 1 2 3 4; do echo "line $i" >&2; done; exit 3`, event.SourceFailing, "exited with code 3 (it says: «line 2 line 3 line 4»)"},
		"silent":          {`exit 1`, event.SourceFailing, "exited with code 1"},
		"killed":          {`kill -9 $$`, event.SourceFailing, "was ended by signal 9 (killed)"},
		"secrets":         {`echo "$API_KEY $1" >&2; exit 1`, event.SourceFailing, "(it says: «[redacted] [redacted]»)"},
		"prints a secret": {`echo "$API_KEY"`, event.SourceFailing, "is not valid JSON"},
		"says much":       {`i=0; while [ $i -lt 3000 ]; do echo "$API_KEY $i"; i=$((i+1)); done >&2; exit 1`, event.SourceFailing, "2999»)"},
	} {
		t.Run(name, func(t *testing.T) {
			x := script(t, test.lines, ExecOptions{
				Command: []string{"--key=s3cr3t-argument"}, Hide: []event.Secret{event.NewSecret("--key=s3cr3t-argument")},
				Env: map[string]event.Secret{"API_KEY": event.NewSecret("s3cr3t-variable")},
			})
			_, err := x.Fetch(t.Context(), poller.Request{})
			fe := fetchError(t, err)
			if fe.Health != test.health || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %s %v, want %s", fe.Health, err, test.want)
			}
		})
	}
	x, err := NewExec(ExecOptions{Command: []string{"/nowhere/list-events"}})
	check(t, err)
	_, err = x.Fetch(t.Context(), poller.Request{})
	if err == nil || err.Error() != "/nowhere/list-events can't be started: no such file or directory; is it there, and executable for the user that tidings runs as?" {
		t.Errorf("got %v", err)
	}
}

// alive reports whether a process is there and no zombie.
func alive(t *testing.T, pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestAProgramThatDoesNotEnd(t *testing.T) {
	for name, test := range map[string]struct {
		lines string // after it has started another process
		o     ExecOptions
		want  string
	}{
		"too long":      {`sleep 1000`, ExecOptions{Timeout: 3 * time.Second}, "was ended: it took longer than 3s"},
		"deaf":          {`(trap "" TERM; sleep 1000; :) & echo $! >> "$1"; trap "" TERM; sleep 1000; sleep 1000`, ExecOptions{Timeout: 3 * time.Second}, "was ended: it took longer than 3s"},
		"prints on":     {`while :; do echo '{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}'; done`, ExecOptions{MaxBody: 1 << 20}, "printed more than the 1048576 bytes"},
		"until stopped": {`sleep 1000`, ExecOptions{}, "was given up"},
	} {
		t.Run(name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			test.o.Command = []string{pids}
			x := script(t, `sleep 1000 & echo $! $$ > "$1"`+"\n"+test.lines, test.o)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.want == "was given up" {
				go func() {
					for text := ""; !strings.HasSuffix(text, "\n") && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
						data, _ := os.ReadFile(pids)
						text = string(data)
					}
					cancel()
				}()
			}
			_, err := x.Fetch(ctx, poller.Request{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
			text, err := os.ReadFile(pids)
			check(t, err)
			for field := range strings.FieldsSeq(string(text)) {
				pid, err := strconv.Atoi(field)
				check(t, err)
				for deadline := time.Now().Add(30 * time.Second); alive(t, pid); time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("process %d lives on", pid)
					}
				}
			}
		})
	}
}

// What a program leaves in the background holds its output open, and is not waited for.
func TestAProgramThatLeavesAnother(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	x := script(t, `sleep 1000 & echo $! > "$1"; echo '[{"id":"a"}]'`, ExecOptions{Command: []string{pids}, Timeout: time.Minute})
	page, err := x.Fetch(t.Context(), poller.Request{})
	if err != nil || len(page.Events) != 1 {
		t.Errorf("%v, %d events", err, len(page.Events))
	}
	text, err := os.ReadFile(pids)
	check(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	check(t, err)
	check(t, syscall.Kill(pid, syscall.SIGKILL))
}

func TestProgramsThatCantBe(t *testing.T) {
	for want, o := range map[string]ExecOptions{
		"the command is empty":   {},
		"NUL byte":               {Command: []string{"a", "b\x00"}},
		`"TIDINGS_X" can't be`:   {Command: []string{"a"}, Env: map[string]event.Secret{"TIDINGS_X": event.NewSecret("1")}},
		"value of X holds a NUL": {Command: []string{"a"}, Env: map[string]event.Secret{"X": event.NewSecret("\x00")}},
		"id ":                    {Command: []string{"a"}, ID: "{"},
	} {
		if _, err := NewExec(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzPrinted(f *testing.F) {
	for _, text := range []string{"", "[]", `{"id":1}` + "\n" + `{"id":2}`, `{"events":[{"id":1}],"position":"x","more":true}`, "{\n", `{"events":1}`} {
		f.Add(text)
	}
	x, err := NewExec(ExecOptions{Command: []string{"x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		page, err := x.read(text)
		if err == nil && !page.Idle && page.Next == "" {
			t.Error("to be run again, and from nowhere")
		}
		if _, fetch := errors.AsType[*poller.FetchError](err); fetch {
			t.Errorf("%v is a whole sentence, and stands within one", err)
		}
		for _, e := range page.Events {
			if e.ID == "" || !strings.Contains(text, string(e.Data)) {
				t.Errorf("%q has the event %q %q", text, e.ID, e.Data)
			}
		}
	})
}
