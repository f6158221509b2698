package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// While the writer stands still, whoever asks whether it works gets an answer.
func TestPingDoesNotWaitForAWriterThatStandsStill(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "store.db"), Options{})
	busy, goOn := make(chan struct{}), make(chan struct{})
	still := make(chan error, 1)
	go func() {
		still <- s.send(t.Context(), &request{prepare: func(*batch) error { close(busy); <-goOn; return nil }})
	}()
	<-busy
	why := errors.New("too slow")
	for range 3 { // before the writer has taken it, and after
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, why)
		if err := s.Ping(ctx); !errors.Is(err, why) {
			t.Errorf("the store answered %v", err)
		}
		cancel()
	}
	close(goOn)
	if err := errors.Join(<-still, s.Ping(t.Context())); err != nil {
		t.Error(err)
	}
}
