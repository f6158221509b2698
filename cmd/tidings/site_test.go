package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidings/simulator"
)

// site is a place to run the daemon at: a simulated API, a receiver, and a directory with a configuration. The daemon is a
// process of its own, this test binary under another name.
type site struct {
	t        testing.TB
	dir      string
	api      *simulator.Flatpeak
	receiver *simulator.Receiver
	apiURL   string
	appURL   string
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{
		t: t, dir: shortDir(t),
		api:      simulator.NewFlatpeak(simulator.Options{Seed: 1, AccountID: simulatedAccount, APIKey: simulatedKey}),
		receiver: simulator.NewReceiver(simulator.ReceiverOptions{Bodies: true}),
	}
	api, app := httptest.NewServer(s.api), httptest.NewServer(s.receiver)
	t.Cleanup(api.Close)
	t.Cleanup(app.Close)
	s.apiURL, s.appURL = api.URL, app.URL
	return s
}

// shortDir is a directory whose path, unlike that of t.TempDir, is short enough for a socket in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// configure writes the configuration: one flatpeak source with the given settings, and the given sinks. In both, API, APP and
// DIR stand for the site's own.
func (s *site) configure(source, sinks string) {
	s.t.Helper()
	text := fmt.Sprintf("sources:\n  flatpeak:\n    preset: flatpeak\n    with: {account_id: %s, api_key: %s, base_url: \"API\"}\n%s\nsinks:\n%s\n",
		simulatedAccount, simulatedKey, indent(source, 4), indent(sinks, 2))
	text = strings.NewReplacer("API", s.apiURL, "APP", s.appURL, "DIR", s.dir).Replace(text)
	if err := os.WriteFile(s.path("config.yaml"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+pad)
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// script writes a shell script into the site's directory.
func (s *site) script(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// tidings runs a command to its end and returns its exit code and output.
func (s *site) tidings(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tidings", append([]string{"--config", s.path("config.yaml")}, args...)...)
	cmd.Dir = s.dir
	return cmd
}

// daemon is a running `tidings run`.
type daemon struct {
	t   testing.TB
	cmd *exec.Cmd
	log *lockedBuffer
}

// start starts the daemon; the test's end kills it if it still runs.
func (s *site) start() *daemon {
	s.t.Helper()
	d := &daemon{t: s.t, cmd: s.command("run"), log: &lockedBuffer{}}
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
		if s.t.Failed() {
			s.t.Logf("the daemon's log:\n%s", tail(d.log.String(), 4000))
		}
	})
	return d
}

// kill ends the daemon as a power cut would end the process.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Fatalf("the daemon ended by itself: %v\n%s", err, d.log)
	}
	_ = d.cmd.Wait()
}

// stop asks the daemon to end and fails the test unless it does so well.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("the daemon ended with %v", err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits until ok, for at most three minutes: long enough for a slow machine, and never waited for on a fast one.
func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("still waiting for %s", what)
		}
	}
}

// lines counts the ids in a file of JSON lines with an id each. A file that is not there has none; a line that is no JSON
// object fails the test.
func (s *site) lines(name string) map[string]int {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	counts := map[string]int{}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 16<<20)
	for n := 1; sc.Scan(); n++ {
		var line struct {
			ID   string          `json:"id"`
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil || line.ID == "" {
			if !bytes.HasSuffix(data, sc.Bytes()) { // the last line may be in the middle of its write
				s.t.Fatalf("%s:%d is no event: %v: %.200s", name, n, err, sc.Text())
			}
			continue
		}
		counts[line.ID]++
	}
	return counts
}

// words counts the lines of a file that holds an id a line.
func (s *site) words(name string) map[string]int {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	counts := map[string]int{}
	for id := range strings.FieldsSeq(string(data)) {
		counts[id]++
	}
	return counts
}

// received counts the accepted requests at the receiver by event id.
func (s *site) received() map[string]int {
	counts := map[string]int{}
	for _, r := range s.receiver.Received() {
		counts[r.ID] = r.Count
	}
	return counts
}

// missing returns the ids of the API's events of the given types (all, without) that are not in got.
func (s *site) missing(got map[string]int, prefix string) []string {
	var missing []string
	for _, e := range s.api.Events() {
		if strings.HasPrefix(e.Type, prefix) && got[e.ID] == 0 {
			missing = append(missing, e.ID)
		}
	}
	return missing
}

// complete fails the test unless got has every event of the API whose type has the prefix, and nothing else, each once.
func (s *site) complete(sink string, got map[string]int, prefix string) {
	s.t.Helper()
	if repeats := s.atLeastOnce(sink, got, prefix); repeats > 0 {
		s.t.Errorf("%s has %d deliveries too many", sink, repeats)
	}
}

// atLeastOnce fails the test unless got has every event of the API whose type has the prefix, and nothing else. It returns
// how many deliveries were repeats.
func (s *site) atLeastOnce(sink string, got map[string]int, prefix string) (repeats int) {
	s.t.Helper()
	if missing := s.missing(got, prefix); len(missing) > 0 {
		s.t.Errorf("%s lacks %d events, %s first", sink, len(missing), missing[0])
	}
	listed := map[string]bool{}
	for _, e := range s.api.Events() {
		listed[e.ID] = strings.HasPrefix(e.Type, prefix)
	}
	for id, n := range got {
		if !listed[id] {
			s.t.Errorf("%s has %q, which the API never listed", sink, id)
		}
		repeats += n - 1
	}
	return repeats
}

func tail(text string, n int) string {
	return text[max(0, len(text)-n):]
}
