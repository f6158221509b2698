package admin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tidings/event"
)

// socketDir is a directory with a path short enough for a socket in it.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tidings")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve runs s on a socket until the returned function is called, which returns what Serve returned.
func serve(t *testing.T, s *Server, path string) (stop func() error) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	stop = func() error {
		cancel()
		select {
		case err := <-served:
			served <- err
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("Serve does not end")
			return nil
		}
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestSocketServes(t *testing.T) {
	path := filepath.Join(socketDir(t), "c.sock")
	defer syscall.Umask(syscall.Umask(0o077)) // the mode holds whatever the umask
	store := &fakeStore{}
	store.bury("app", 3)
	stop := serve(t, &Server{Store: store, Live: NewLive(event.Topology{})}, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("the socket's mode is %v", info.Mode())
	}
	c := Dial(path)
	defer c.Close()
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if status, err := c.Status(t.Context()); err != nil || status.Sinks["app"].Dead != 3 {
		t.Errorf("got %+v, %v", status, err)
	}
	if change, err := c.DropDead(t.Context(), DeadSelection{All: true}); err != nil || change.Count != 3 {
		t.Errorf("got %+v, %v", change, err)
	}
	if _, err := c.DropDead(t.Context(), DeadSelection{Sink: "x"}); kindOf(err) != NotFound {
		t.Errorf("an error lost its kind: %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays after the end: %v", err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("after the end: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(socketDir(t), "c.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // as a killed daemon leaves it
	if err := Dial(path).Ping(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a stale socket: %v", err)
	}
	serve(t, &Server{Store: &fakeStore{}}, path)
	if err := Dial(path).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := socketDir(t)
	live, file, link := filepath.Join(dir, "live.sock"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	serve(t, &Server{Store: &fakeStore{}}, live)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(live, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		live:                               "another tidings listens on the control socket",
		file:                               "a file that is no socket is there",
		link:                               "a file that is no socket is there",
		filepath.Join(dir, "no", "c"):      "there is no directory " + filepath.Join(dir, "no"),
		filepath.Join(file, "c"):           "there is no directory " + file,
		"/tmp/" + strings.Repeat("x", 103): "has 108 bytes, and a socket's path at most 107",
	} {
		l, err := Listen(path)
		if err == nil {
			_ = l.Close()
			t.Errorf("%s was taken", path)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want …%s…", path, err, want)
		}
	}
	if err := Dial(live).Ping(t.Context()); err != nil {
		t.Errorf("the live daemon was disturbed: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "precious" {
		t.Error("the file was overwritten")
	}
	longest := filepath.Join(dir, strings.Repeat("x", maxPath-len(dir)-1))
	l, err := Listen(longest)
	if err != nil {
		t.Fatalf("the longest path: %v", err)
	}
	_ = l.Close()
}

func TestNoPermission(t *testing.T) {
	path := filepath.Join(socketDir(t), "c.sock")
	serve(t, &Server{Store: &fakeStore{}}, path)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may open everything
		if err := syscall.Seteuid(65534); err != nil {
			t.Skipf("root may open everything, and can't become another: %v", err)
		}
		defer func() {
			if err := syscall.Seteuid(0); err != nil {
				t.Fatal(err)
			}
		}()
	}
	if err := Dial(path).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "you may not open") {
		t.Errorf("got %v", err)
	}
}

// blockingStore holds a change until it is cancelled or released.
type blockingStore struct {
	fakeStore
	entered, release chan struct{}
	left             chan error
}

func (b *blockingStore) DropDead(ctx context.Context, sink string, seqs []uint64) (int, error) {
	close(b.entered)
	var err error
	select {
	case <-ctx.Done():
		time.Sleep(50 * time.Millisecond) // a transaction that is under way takes its time
		err = ctx.Err()
	case <-b.release:
	}
	b.left <- err
	return len(seqs), err
}

// TestServeEndsGracefully: a change in flight at the end is finished; one that takes too long is cancelled, and Serve returns
// only after its handler.
func TestServeEndsGracefully(t *testing.T) {
	for _, patient := range []bool{true, false} {
		store := &blockingStore{entered: make(chan struct{}), release: make(chan struct{}), left: make(chan error, 1)}
		store.bury("app", 1)
		path := filepath.Join(socketDir(t), "c.sock")
		stop := serve(t, &Server{Store: store}, path)
		if !patient {
			idle, err := net.Dial("unix", path) // says nothing; must not hold the end up for ever
			if err != nil {
				t.Fatal(err)
			}
			defer idle.Close()
		}
		changed := make(chan error, 1)
		c := Dial(path)
		defer c.Close()
		go func() {
			_, err := c.DropDead(t.Context(), DeadSelection{All: true})
			changed <- err
		}()
		<-store.entered
		if patient {
			time.AfterFunc(50*time.Millisecond, func() { close(store.release) })
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-store.left:
			if (err == nil) != patient {
				t.Errorf("patient %v: the change ended with %v", patient, err)
			}
		default:
			t.Error("Serve returned before its handler")
		}
		if err := <-changed; (err == nil) != patient {
			t.Errorf("patient %v: the client got %v", patient, err)
		}
	}
}

func TestForeignAnswers(t *testing.T) {
	path := filepath.Join(socketDir(t), "c.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]func(http.ResponseWriter){
		"answered 418 I'm a teapot: is it another program": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		"gave an answer that can't be read":                func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"it hung up in the middle":                         func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	}
	var answer atomic.Value
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer.Load().(func(http.ResponseWriter))(w)
	})}
	done := make(chan struct{})
	go func() { _ = server.Serve(l); close(done) }()
	defer func() { _ = server.Close(); <-done }()
	for want, f := range answers {
		answer.Store(f)
		c := Dial(path)
		if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
		c.Close()
	}
}
