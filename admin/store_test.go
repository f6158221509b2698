package admin

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

func TestBackupIsWholeOrAnError(t *testing.T) {
	fake := &fakeStore{copy: strings.Repeat("page", 100_000)}
	s := &Server{Store: fake}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.Handler()}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	daemon := Dial(l.Addr().String())
	t.Cleanup(daemon.Close)
	for name, c := range map[string]*Client{"in memory": client(t, s), "over a socket": daemon} {
		fake.err, fake.cut = nil, nil
		var got bytes.Buffer
		var told int64
		open := func(size int64) (io.Writer, error) {
			told = size
			return &got, nil
		}
		if err := c.Backup(t.Context(), open); err != nil || got.String() != fake.copy || told != int64(got.Len()) {
			t.Errorf("%s: %d bytes of %d, %v", name, got.Len(), told, err)
		}
		fake.cut = errors.New("the disk is gone")
		if err := c.Backup(t.Context(), open); err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%s: cut off: %v", name, err)
		}
		fake.err = errors.New("another backup is under way")
		if err := c.Backup(t.Context(), open); err == nil || !strings.Contains(err.Error(), "another backup") {
			t.Errorf("%s: refused: %v", name, err)
		}
		fake.err, fake.cut = nil, nil
		if err := c.Backup(t.Context(), func(int64) (io.Writer, error) { return nil, io.ErrShortBuffer }); !errors.Is(err, io.ErrShortBuffer) {
			t.Errorf("%s: no room: %v", name, err)
		}
		if done, err := c.Compact(t.Context()); err != nil || done.After != 100 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
}
