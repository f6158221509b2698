package store

import (
	"context"
	"errors"
	"io"
	"time"

	bolt "go.etcd.io/bbolt"
)

// copyLimit bounds a backup and a compaction: as long as a backup reads, pages that are let go can't be used again, and the file grows.
const copyLimit = 15 * time.Minute

// Backup writes the store as it stands at one moment to w, while work goes on. start is told first how many bytes will come.
// One is made at a time, and no compaction meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer, start func(size int64) error) error {
	ctx, _, end, err := s.beginCopy(ctx)
	if err != nil {
		return err
	}
	defer end()

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
	err = start(size)
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

// beginCopy lets the file be copied as a whole, by one at a time, until ctx ends or stop is called. With no error, end must be called.
func (s *Store) beginCopy(ctx context.Context) (_ context.Context, stop context.CancelCauseFunc, end func(), err error) {
	if !s.copying.TryLock() {
		return nil, nil, nil, errBusy
	}
	ctx, timeout := context.WithTimeoutCause(ctx, copyLimit, errors.New("it took longer than "+copyLimit.String()))
	ctx, stop = context.WithCancelCause(ctx)
	s.copier.Store(&stop)
	end = func() {
		s.copier.Store(nil)
		stop(nil)
		timeout()
		s.copying.Unlock()
	}
	if s.wanted.Load() {
		end()
		return nil, nil, nil, errors.New("the store needs its file for itself: try again")
	}
	return ctx, stop, end, nil
}

// stopCopy ends a backup that is under way, and lets none begin until the file is given back.
func (s *Store) stopCopy(why error) (giveBack func()) {
	s.wanted.Store(true)
	if cancel := s.copier.Load(); cancel != nil {
		(*cancel)(why)
	}
	return func() { s.wanted.Store(false) }
}
