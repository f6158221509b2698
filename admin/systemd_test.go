package admin

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// systemd is a notify socket; its channel gives what it is told.
func systemd(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(socketDir(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_PID", "")
	told := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			told <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return told
}

func await(t *testing.T, told <-chan string, want string) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Errorf("systemd was told %q, want %q", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("systemd was not told %q", want)
	}
}

func TestNotifier(t *testing.T) {
	told := systemd(t)
	n := NewNotifier()
	n.Ready()
	await(t, told, "READY=1")
	n.Status("all\nwell")
	await(t, told, "STATUS=all well")
	n.Status("all well")
	n.Status("too soon")
	n.Stopping()
	await(t, told, "STOPPING=1\nSTATUS=stopping")
	n.told = n.told.Add(-statusEvery)
	n.Status("all well")
	n.Status("another")
	await(t, told, "STATUS=another")
	n.Fail(errors.New(strings.Repeat("é", 200)))
	await(t, told, "STATUS="+strings.Repeat("é", 125)+"…")
}

func TestTell(t *testing.T) {
	told := systemd(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := &Server{Store: &fakeStore{}, Live: NewLive(event.Topology{})}
	go func() { ended <- NewNotifier().Tell(ctx, server) }()
	await(t, told, "STATUS=0/0 sources ok, 0 owed, 0 dead")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWatchdog(t *testing.T) {
	told := systemd(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	var sick atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		ended <- NewNotifier().Watchdog(ctx, func(context.Context) error {
			if sick.Load() {
				return errors.New("source s makes no progress")
			}
			return nil
		})
	}()
	for range 5 {
		await(t, told, "WATCHDOG=1")
	}
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("five pings in %v: too many", took)
	}
	sick.Store(true)
	for got := range told {
		if got != "WATCHDOG=1" { // one may have been on its way
			if got != "STATUS=not healthy: source s makes no progress" {
				t.Errorf("systemd was told %q", got)
			}
			break
		}
	}
	await(t, told, "STATUS=not healthy: source s makes no progress") // and no ping meanwhile
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	n := NewNotifier()
	n.Ready()
	n.Status("x")
	if err := n.Watchdog(t.Context(), func(context.Context) error { panic("asked") }); err != nil {
		t.Error(err)
	}
	if err := n.Tell(t.Context(), nil); err != nil {
		t.Error(err)
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := n.Watchdog(t.Context(), nil); err == nil {
		t.Error("a limit that is no number was taken")
	}
}

// A disk that stands still must not keep a monitor waiting, nor systemd in the dark.
func TestALookAtTheHealthIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := askHealth(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if took := time.Since(began); took != healthTime || err == nil || err.Error() != "the store has not answered within 5s" {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
