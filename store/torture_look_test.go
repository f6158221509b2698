package store

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// look asks a looking process what a file has.
type look struct {
	Path  string
	Known map[string]int // ask whether a source's events up to this one are known
	Body  int
	GoOn  bool // then take in and deliver something more

	Repair bool // when it is refused, repair it first
}

// sight is what it saw.
type sight struct {
	Found   map[string]string // see expected
	Refused string            // the sentence with which the store refused to open
	Wrong   []string
	Told    []string // what the store warned of, or set aside

	Repaired bool
}

const lookLimit = 30 * time.Second

func lookAtMany(in io.Reader, out io.Writer) error {
	requests := json.NewDecoder(in)
	answers := json.NewEncoder(out)
	for {
		var l look
		if err := requests.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := answers.Encode(lookAt(l)); err != nil {
			return err
		}
	}
}

// lookAt opens a store as the daemon does, checks it, and drains it without settling.
func lookAt(l look) sight {
	seen := sight{Found: map[string]string{}}
	wrong := func(format string, args ...any) { seen.Wrong = append(seen.Wrong, fmt.Sprintf(format, args...)) }
	o := Options{Create: true, Keep: time.Hour, tick: time.Hour, runSize: 80, sealSlice: 20, Notify: func(n event.Notice) {
		switch n := n.(type) {
		case event.SetAside:
			seen.Told = append(seen.Told, n.What+": "+n.Why)
		case event.StoreNote:
			if n.Warn {
				seen.Told = append(seen.Told, n.What)
			}
		}
	}}
	s, err := Open(l.Path, o)
	if err != nil && l.Repair {
		if bad := isSentence(err.Error()); bad != "" {
			wrong("%s", bad)
		}
		if err = repairNow(l.Path); err == nil {
			seen.Repaired = true
			s, err = Open(l.Path, o)
		}
	}
	if err != nil {
		seen.Refused = err.Error()
		return seen
	}
	if err := s.Check(); err != nil {
		wrong("check: %v", err)
	}
	for _, name := range workSources {
		p, err := s.Position(name)
		if err != nil {
			wrong("%v", err)
		}
		if len(p.Data) > 0 {
			seen.Found["pos/"+name] = string(p.Data)
		}
		var ids []string
		for n := range l.Known[name] + 20 {
			ids = append(ids, fmt.Sprintf("evt_%d", n))
		}
		known, err := s.Known(name, ids)
		if err != nil {
			wrong("%v", err)
		}
		for i, yes := range known {
			if yes {
				seen.Found["known/"+name+"/"+ids[i]] = "yes"
			}
		}
	}
	is := func(key, state string) {
		if seen.Found[key] != "" {
			wrong("%s is %s and %s", key, seen.Found[key], state)
		}
		seen.Found[key] = state
	}
	for _, name := range workSinks {
		state, err := s.State(name)
		if err != nil {
			continue
		}
		seen.Found["open"] = "yes"
		seen.Found["state/"+name] = stateText(state)
		for {
			d, ok, err := s.Probe(name)
			if err != nil {
				wrong("%v", err)
			}
			if !ok || err != nil {
				break
			}
			is(name+"/"+d.Event.Source+"/"+d.Event.ID, fmt.Sprint("owed ", d.Attempts))
			if why := wrongEvent(d.Event, l.Body); why != "" {
				wrong("%s was handed %s", name, why)
			}
		}
		letters, err := s.Dead(event.DeadQuery{Sink: name})
		if err != nil {
			wrong("%v", err)
		}
		for _, d := range letters {
			if strings.HasPrefix(d.Event.ID, "unreadable-") {
				seen.Told = append(seen.Told, d.Event.ID+": "+d.Reason)
				continue
			}
			is(name+"/"+d.Event.Source+"/"+d.Event.ID, fmt.Sprint("dead ", d.Attempts))
			if why := wrongEvent(d.Event, l.Body); why != "" {
				wrong("a dead letter of %s is %s", name, why)
			}
		}
	}
	if l.GoOn {
		if err := goOn(s); err != nil {
			wrong("going on: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		wrong("close: %v", err)
	}
	return seen
}

func repairNow(path string) error {
	r, err := PlanRepair(context.Background(), path, RepairOptions{})
	if err != nil {
		return err
	}
	return r.Apply()
}

// wrongEvent says what is wrong with an event that was handed out; its source and id say what it must be.
func wrongEvent(got event.Event, body int) string {
	n, err := strconv.Atoi(strings.TrimPrefix(got.ID, "evt_"))
	if err != nil {
		return fmt.Sprintf("an event %q of source %q, which was never made", got.ID, got.Source)
	}
	want := workEvent(got.Source, n, body)
	if !bytes.Equal(got.Data, want.Data) || got.Type != want.Type || !got.Time.Equal(want.Time) {
		return fmt.Sprintf("event %s of source %s changed: type %q, time %s, body %.60q", got.ID, got.Source, got.Type, got.Time, got.Data)
	}
	return ""
}

// goOn sees that a store can be worked with.
func goOn(s *Store) error {
	ctx := context.Background()
	if err := s.Apply(ctx, workTopology(), false); err != nil {
		return err
	}
	p, err := s.Position("api")
	if err != nil {
		return err
	}
	const far = 1_000_000
	done, err := s.Commit(ctx, event.Commit{Source: "api", Generation: p.Generation, Position: []byte(strconv.Itoa(far + 2)),
		Events: []event.Event{workEvent("api", far, 0), workEvent("api", far+1, 0)}})
	if err != nil || done.New != 2 {
		return fmt.Errorf("a page of two: %+v %w", done, err)
	}
	for _, name := range workSinks {
		if d, ok, err := s.Probe(name); err != nil {
			return err
		} else if ok {
			if err := s.Settle(ctx, []event.Settlement{{Sink: name, Seq: d.Seq, Outcome: event.Delivered}}); err != nil {
				return err
			}
		}
	}
	return s.Check()
}

// looker is a looking process. One that ends or hangs is replaced.
type looker struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	said  bytes.Buffer
	limit time.Duration
}

func newLooker(t testing.TB) *looker { return &looker{t: t, limit: lookLimit} }

func (k *looker) start() {
	command, env := child(k.t, "look", nil)
	k.cmd = exec.Command(command[0], command[1:]...)
	k.cmd.Env = env
	k.said.Reset()
	k.cmd.Stderr = &k.said
	in, err := k.cmd.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.in, k.out = in, bufio.NewReader(out)
}

// end ends the process and returns what it said before that.
func (k *looker) end() string {
	if k.cmd == nil {
		return ""
	}
	_ = k.in.Close()
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait()
	k.cmd = nil
	return k.said.String()
}

// look returns what was seen. A process that ended or took too long is an error, with what it said.
func (k *looker) look(l look) (sight, error) {
	if k.cmd == nil {
		k.start()
	}
	text, err := json.Marshal(l)
	if err != nil {
		return sight{}, err
	}
	slow := time.AfterFunc(k.limit, func() { _ = k.cmd.Process.Kill() })
	_, err = k.in.Write(append(text, '\n'))
	var answer []byte
	for err == nil && !bytes.HasPrefix(answer, []byte("{")) {
		answer, err = k.out.ReadBytes('\n')
	}
	inTime := slow.Stop()
	if err != nil {
		said := k.end()
		if !inTime {
			return sight{}, fmt.Errorf("it hangs: no answer in %s", k.limit)
		}
		return sight{}, fmt.Errorf("the process ended: %.2000s", said)
	}
	var seen sight
	if err := json.Unmarshal(answer, &seen); err != nil {
		return seen, err
	}
	return seen, nil
}

// isSentence says what is wrong with what a user is told; "" for nothing.
func isSentence(text string) string {
	for _, bad := range []string{"goroutine ", "panic:", "runtime error", "fatal error", "SIGSEGV", "SIGBUS", ".go:", "0x"} {
		if strings.Contains(text, bad) {
			return fmt.Sprintf("it says %q, which is no sentence: %.300q", bad, text)
		}
	}
	if len(text) < 20 || text == "EOF" {
		return fmt.Sprintf("it only says %q", text)
	}
	return ""
}

// removeAll removes what a look left.
func removeAll(t testing.TB, dir string) {
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
