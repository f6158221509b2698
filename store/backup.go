package store

import (
	"context"
	"errors"
	"io"
	"time"

	bolt "go.etcd.io/bbolt"
)

// backupLimit bounds a backup: as long as it reads, pages that are let go can't be used again, and the file grows.
const backupLimit = 15 * time.Minute

// Backup writes the store as it stands at one moment to w, while work goes on. start is told first how many bytes will come.
// One is made at a time, and no compaction meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer, start func(size int64) error) error {
	if !s.copying.TryLock() {
		return errors.New("another backup or a compaction is under way: try again when it has ended")
	}
	defer s.copying.Unlock()
	ctx, timeout := context.WithTimeoutCause(ctx, backupLimit, errors.New("it took longer than "+backupLimit.String()))
	defer timeout()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.copier.Store(&cancel)
	defer s.copier.Store(nil)
	if s.wanted.Load() {
		return errors.New("the store needs its file for itself: try again")
	}

	// The reader of the file writes into a pipe, so that a receiver that stands still never holds the transaction once the store
	// wants its file.
	r, pipe := io.Pipe()
	defer context.AfterFunc(ctx, func() { _ = pipe.CloseWithError(context.Cause(ctx)) })()
	sizes := make(chan int64, 1)
	read := make(chan error, 1)
	go func() {
		err := s.view(func(tx *bolt.Tx) error {
			sizes <- tx.Size()
			_, err := tx.WriteTo(pipe)
			return err
		})
		_ = pipe.CloseWithError(err) // nil: the end
		close(sizes)
		read <- err
	}()
	size, ok := <-sizes
	if !ok {
		return <-read
	}
	err := start(size)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, 256<<10))
	}
	_ = r.CloseWithError(errors.New("nobody takes the backup any more"))
	readErr := <-read
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil {
		err = readErr
	}
	return err
}

// stopCopy ends a backup that is under way, and lets none begin until the file is given back.
func (s *Store) stopCopy(why error) (giveBack func()) {
	s.wanted.Store(true)
	if cancel := s.copier.Load(); cancel != nil {
		(*cancel)(why)
	}
	return func() { s.wanted.Store(false) }
}
