package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"tidings/dispatch"
	"tidings/event"
)

const (
	endGrace = 2 * time.Second // from SIGTERM to SIGKILL, and from a program's end to that of its output, which what it started may hold open
	envLimit = 4 << 10         // bytes of an id in the environment
)

// ExecOptions describe a program.
type ExecOptions struct {
	Sink    string                  // its name, for TIDINGS_SINK
	Command []string                // an argument vector; no shell reads it. A name without a slash is looked up in the daemon's PATH
	Env     map[string]event.Secret // more of the environment
	Hide    []event.Secret          // what must not show of the command and its output, besides the values of Env
	Format  Format
}

// Exec runs a program for each event: the event and a newline on standard input, its facts in the environment, in the
// daemon's working directory, in a process group of its own. The exit code is the verdict:
//
//	0                delivered
//	75, 111          retry (EX_TEMPFAIL; qmail-command(8))
//	65, 77, 78, 100  dead letter (EX_DATAERR, EX_NOPERM, EX_CONFIG; qmail-command(8))
//	126, 127         the sink is down: a shell found no program. So is a program that can't be started
//	others           retry; so does a signal, and a program that is ended for taking too long, whatever its exit code
//
// What a program leaves running in the background lives on after exit 0, without its output, and is ended at a timeout.
type Exec struct {
	o       ExecOptions
	env     []string
	secrets []event.Secret
}

// NewExec checks the options. The program need not be there yet.
func NewExec(o ExecOptions) (*Exec, error) {
	if err := o.Format.check(); err != nil {
		return nil, err
	}
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, errors.New("the command is empty: give a program and its arguments as a list")
	}
	if strings.Contains(strings.Join(o.Command, ""), "\x00") {
		return nil, errors.New("the command holds a NUL byte")
	}
	x := &Exec{o: o, secrets: slices.Clone(o.Hide)}
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value, set := os.LookupEnv(name); set {
			x.env = append(x.env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		value := o.Env[name]
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.HasPrefix(name, "TIDINGS_") {
			return nil, fmt.Errorf("env: %q can't be set: use another name, not beginning with TIDINGS_", name)
		}
		if strings.Contains(value.Reveal(), "\x00") {
			return nil, fmt.Errorf("env: the value of %s holds a NUL byte", name)
		}
		x.env = append(x.env, name+"="+value.Reveal())
		x.secrets = append(x.secrets, value)
	}
	longestFirst(x.secrets)
	return x, nil
}

// Deliver runs the program for each event of the batch.
func (x *Exec) Deliver(ctx context.Context, batch []event.Delivery) []dispatch.Result {
	results := make([]dispatch.Result, len(batch))
	for i, d := range batch {
		results[i] = x.run(ctx, d)
		results[i].Reason = event.Redact(results[i].Reason, x.secrets...)
	}
	return results
}

func (x *Exec) run(ctx context.Context, d event.Delivery) dispatch.Result {
	began := time.Now()
	if ctx.Err() != nil {
		return dispatch.Result{Verdict: dispatch.Retry, Reason: "There was no time left to start " + x.o.Command[0]}
	}
	body := x.o.Format.body(d.Event)
	said := &answer{secrets: x.secrets}
	cmd := exec.CommandContext(ctx, x.o.Command[0], x.o.Command[1:]...)
	cmd.Env = append(slices.Clip(x.env), facts(x.o.Sink, d)...)
	cmd.Stdin = bytes.NewReader(append(body[:len(body):len(body)], '\n'))
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = endGrace // after which Wait kills the program and closes the pipes
	var ended time.Duration  // how long it had run when it was told to end; 0: it ended by itself
	cmd.Cancel = func() error {
		signal := syscall.SIGTERM
		if errors.Is(context.Cause(ctx), dispatch.ErrStopping) {
			signal = syscall.SIGKILL // the shutdown has waited for it long enough
		}
		err := syscall.Kill(-cmd.Process.Pid, signal)
		if err == nil {
			ended = time.Since(began)
		}
		return err
	}
	if err := cmd.Start(); err != nil {
		return x.unstarted(ctx, err)
	}
	_ = cmd.Wait() // the state says how it ended; what else can go wrong is input that was not read and output held open
	if ended > 0 {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the rest of the group
	}
	return x.judge(cmd.ProcessState, ended, said.String())
}

func (x *Exec) unstarted(ctx context.Context, err error) dispatch.Result {
	if ctx.Err() != nil {
		return dispatch.Result{Verdict: dispatch.Retry, Reason: "There was no time left to start " + x.o.Command[0]}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	return dispatch.Result{
		Verdict: dispatch.SinkDown,
		Reason:  fmt.Sprintf("%s can't be started: %v; is it there, executable for the user that tidings runs as, and its #! line right?", x.o.Command[0], err),
	}
}

// judge gives the end of a program its meaning. It is the one place that does.
func (x *Exec) judge(state *os.ProcessState, ended time.Duration, said string) dispatch.Result {
	r := dispatch.Result{Verdict: dispatch.Retry, Answer: said}
	program, code := x.o.Command[0], state.ExitCode()
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case ended > 0:
		r.Reason = fmt.Sprintf("%s was ended: it took longer than %v", program, ended.Round(100*time.Millisecond))
	case status.Signaled():
		r.Reason = fmt.Sprintf("%s was ended by signal %d (%v)", program, int(status.Signal()), status.Signal())
	case code == 0:
		r.Verdict = dispatch.Done
		return r
	default:
		r.Reason = fmt.Sprintf("%s exited with code %d", program, code)
		switch code {
		case 65, 77, 78, 100:
			r.Verdict = dispatch.Permanent
		case 126, 127:
			r.Verdict = dispatch.SinkDown
			r.Reason += ", which says that a program can't be run"
		}
	}
	if line := lastLine(said); line != "" {
		r.Reason += ": " + line
	}
	return r
}

// facts are the variables that tell the program about the event.
func facts(sink string, d event.Delivery) []string {
	replay := "0"
	if d.Replay {
		replay = "1"
	}
	return []string{
		"TIDINGS_EVENT_ID=" + envText(d.Event.ID),
		"TIDINGS_EVENT_TYPE=" + envText(d.Event.Type),
		"TIDINGS_EVENT_TIME=" + stamp(d.Event.Time),
		"TIDINGS_SOURCE=" + envText(d.Event.Source),
		"TIDINGS_SINK=" + sink,
		"TIDINGS_ATTEMPT=" + strconv.Itoa(d.Attempts+1),
		"TIDINGS_REPLAY=" + replay,
	}
}

// envText is a text as the environment can carry it: without NUL bytes and cut at 4 KiB, not within a character.
func envText(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if len(s) <= envLimit {
		return s
	}
	end := envLimit
	for end > envLimit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
