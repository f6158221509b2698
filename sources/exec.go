package sources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

const (
	exTempFail = 75               // EX_TEMPFAIL of sysexits.h
	endGrace   = 2 * time.Second  // from SIGTERM to SIGKILL, and from the program's end to that of its output, which what it started may hold open
	maxStderr  = 16 << 10         // bytes of standard error that are kept, from its end
	maxCommand = 30 * time.Second // of a run, by default
)

var errTooMuch = errors.New("the program printed too much")

// ExecOptions describe a program that prints events. The zero value of a field means its default.
type ExecOptions struct {
	Source  string
	Command []string                // an argument vector; no shell reads it. A name without a slash is looked up in the daemon's PATH
	Env     map[string]event.Secret // more of the environment
	Hide    []event.Secret          // what must not show of the command and its output, besides the values of Env
	Timeout time.Duration           // of one run; 30s
	MaxBody int64                   // bytes of its output; 32 MiB

	// What an event is, as in recipe.HTTP; by default the members id, type and time.
	ID, Type, Time, Zone, Layout string

	Trace  func(Exchange)                         // told of each run when it has ended; may be nil
	Replay func(asked Exchange) (Exchange, error) // gives what Trace was told once, and no program runs; nil: it does
}

// Exec runs a program for each page of a list, in the daemon's working directory and in a process group of its own. In its environment
// are PATH, HOME, LANG, TZ, what Env names, and
//
//	TIDINGS_SOURCE    the source's name
//	TIDINGS_POSITION  the position that it printed last, empty until it prints one
//	TIDINGS_START     an RFC 3339 time from which on events are wanted; empty for all there are, and for those from the first run on
//
// On standard output it prints the events: a JSON array, one JSON object a line, or an object
//
//	{"events": [...], "position": "...", "more": true}
//
// where position is given to the next run once the events are durable, and more asks for that run at once. Without a position it prints
// whatever it likes, again and again: what is known is not new. The exit code says how it went:
//
//	0       done; nothing of what it printed counts with any other
//	75      ask later (EX_TEMPFAIL)
//	others  failed, as are a signal and a run that takes too long; the last lines of standard error say why
//
// What a program leaves running in the background lives on after exit 0, without its output, and is ended at a timeout.
type Exec struct {
	o    ExecOptions
	env  []string
	veil veil
	list lister
}

var _ poller.Fetcher = (*Exec)(nil)

// NewExec checks the options. The program need not be there yet.
func NewExec(o ExecOptions) (*Exec, error) {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, errors.New("the command is empty: give a program and its arguments as a list")
	}
	if strings.Contains(strings.Join(o.Command, ""), "\x00") {
		return nil, errors.New("the command holds a NUL byte")
	}
	o.Timeout, o.MaxBody = cmp.Or(o.Timeout, maxCommand), cmp.Or(o.MaxBody, defaultMaxBody)
	x := &Exec{o: o}
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value, set := os.LookupEnv(name); set {
			x.env = append(x.env, name+"="+value)
		}
	}
	var hide []string
	for _, secret := range o.Hide {
		hide = append(hide, secret.Reveal())
	}
	for _, name := range slices.Sorted(maps.Keys(o.Env)) {
		value := o.Env[name].Reveal()
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.HasPrefix(name, "TIDINGS_") {
			return nil, fmt.Errorf("env: %q can't be set: use another name, not beginning with TIDINGS_", name)
		}
		if strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("env: the value of %s holds a NUL byte", name)
		}
		x.env = append(x.env, name+"="+value)
		hide = append(hide, value)
	}
	x.env, x.veil = append(x.env, "TIDINGS_SOURCE="+o.Source), newVeil(hide...)
	var err error
	x.list, err = newLister(o.Source, recipe.HTTP{
		ID: cmp.Or(o.ID, "id"), Type: cmp.Or(o.Type, "type"), Time: cmp.Or(o.Time, "time"), Zone: o.Zone, Layout: o.Layout,
	})
	return x, err
}

// Fetch runs the program once. Every error is a *poller.FetchError.
func (x *Exec) Fetch(ctx context.Context, r poller.Request) (event.Page, error) {
	output, err := x.output(ctx, r)
	if err != nil {
		return event.Page{}, err
	}
	page, err := x.read(output)
	if err != nil {
		return event.Page{}, failing("what %s printed %s", x.o.Command[0], x.veil.text(err.Error()))
	}
	return page, nil
}

// output is what a run prints, or what it printed when it was recorded.
func (x *Exec) output(ctx context.Context, r poller.Request) (output string, err error) {
	key, begun := "position "+r.Cursor, time.Now()
	if x.o.Replay != nil {
		output, err = x.repeat(key)
	} else {
		output, err = x.run(ctx, r)
	}
	x.told(key, output, time.Since(begun), err)
	return output, err
}

func (x *Exec) run(ctx context.Context, r poller.Request) (string, error) {
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timed, cancelTime := context.WithTimeout(bounded, x.o.Timeout)
	defer cancelTime()
	start := ""
	if !r.From.IsZero() {
		start = r.From.UTC().Format(time.RFC3339Nano)
	}
	cmd := exec.CommandContext(timed, x.o.Command[0], x.o.Command[1:]...)
	cmd.Env = append(slices.Clip(x.env), "TIDINGS_POSITION="+r.Cursor, "TIDINGS_START="+start)
	said := &tail{}
	printed := &head{most: x.o.MaxBody, full: func() { cancel(errTooMuch) }}
	cmd.Stdout, cmd.Stderr = printed, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = endGrace // after which Wait kills the program and closes the pipes
	ended := false
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		ended = err == nil
		return err
	}
	if err := cmd.Start(); err != nil {
		return "", x.unstarted(ctx, err)
	}
	_ = cmd.Wait() // the state says how it ended; what else can go wrong is output held open
	if ended {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the rest of the group
	}
	switch {
	case ctx.Err() != nil:
		return "", failing("%s was given up: %w", x.o.Command[0], ctx.Err())
	case errors.Is(context.Cause(bounded), errTooMuch):
		return "", failing("%s printed more than the %d bytes that one run may print; nothing of it was taken", x.o.Command[0], x.o.MaxBody)
	case ended:
		return "", failing("%s was ended: it took longer than %s%s", x.o.Command[0], x.o.Timeout, x.quote(said))
	}
	return printed.text.String(), x.judge(cmd.ProcessState, said)
}

func (x *Exec) unstarted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return failing("%s was given up: %w", x.o.Command[0], ctx.Err())
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	return failing("%s can't be started: %w; is it there, and executable for the user that tidings runs as?", x.o.Command[0], err)
}

// judge gives the end of the program its meaning: nil for a success.
func (x *Exec) judge(state *os.ProcessState, said *tail) error {
	program, code := x.o.Command[0], state.ExitCode()
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return failing("%s was ended by signal %d (%v)%s", program, int(status.Signal()), status.Signal(), x.quote(said))
	case code == 0:
		return nil
	case code == exTempFail:
		return &poller.FetchError{Health: event.SourceLimited, Err: fmt.Errorf("%s exited with code %d: it asks to be run later%s", program, code, x.quote(said))}
	}
	return failing("%s exited with code %d%s", program, code, x.quote(said))
}

// quote is what the program said last on standard error, for the end of a sentence.
func (x *Exec) quote(said *tail) string {
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	text := x.veil.text(strings.Join(lines[max(0, len(lines)-3):], "\n"))
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (it says: «%s»)", cut(text, 2*excerptLen))
}

// head keeps the beginning of an output, and calls full where there is more.
type head struct {
	text strings.Builder
	most int64
	full func()
}

func (h *head) Write(p []byte) (int, error) {
	if int64(h.text.Len()+len(p)) > h.most {
		h.full()
		return 0, errTooMuch
	}
	return h.text.Write(p)
}

// tail keeps the last maxStderr bytes of an output.
type tail struct {
	end []byte
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p...)
	if over := len(t.end) - maxStderr; over > 0 {
		t.end, t.cut = append(t.end[:0], t.end[over:]...), true
	}
	return len(p), nil
}

// String leaves out the line whose beginning is missing: it may begin with a piece of a secret.
func (t *tail) String() string {
	text := string(t.end)
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}
