package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

const (
	compactAt    = 256 << 20 // bytes: a smaller file is not worth it
	compactFree  = 60        // percent of the file that must be free
	compactEvery = 10 * time.Minute
	compactTries = 20 // of putting the copy in place
)

var (
	errBusy   = errors.New("a backup or a compaction is under way: try again when it has ended")
	errBehind = errors.New("more is written all the time than the copy can follow: try again when there is less to do")
)

func compactPath(path string) string { return path + ".compact" }

// Compact copies what the file holds into a new one that takes its place. Work goes on meanwhile; who writes waits for the last step.
func (s *Store) Compact(ctx context.Context) (event.Compacted, error) {
	type result struct {
		event.Compacted
		error
	}
	results := make(chan result, 1)
	err := s.between(ctx, func() error {
		s.copies.Go(func() {
			c, err := s.compact(ctx, s.between)
			results <- result{c, err}
		})
		return nil
	})
	if err != nil {
		return event.Compacted{}, err
	}
	r := <-results
	return r.Compacted, r.error
}

// between has the writer run fn while nothing is written.
func (s *Store) between(ctx context.Context, fn func() error) error {
	return s.send(ctx, &request{between: fn})
}

// shrink compacts the file when most of it is free: at opening before anything else, later beside the work.
func (s *Store) shrink(online bool) {
	if s.db == nil || online && time.Since(s.shrunk) < compactEvery && !s.shrunk.IsZero() {
		return
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Size() < s.opt.compactAt {
		return
	}
	size, reusable := extent(s.db)
	used := size - reusable
	if used*100 > info.Size()*(100-compactFree) {
		return
	}
	s.shrunk = time.Now()
	compact := func(between func(context.Context, func() error) error) {
		c, err := s.compact(context.Background(), between)
		switch {
		case errors.Is(err, errBusy), errors.Is(err, errClosed):
		case err != nil:
			s.note(true, "%s of %s is free, but it could not be compacted: %v", bytesText(info.Size()-used), bytesText(info.Size()), err)
		default:
			s.note(false, "compacted from %s to %s in %s, of which writing waited %s", bytesText(c.Before), bytesText(c.After),
				c.Took.Round(time.Millisecond), c.Paused.Round(time.Millisecond))
		}
	}
	if online {
		s.copies.Go(func() { compact(s.between) })
	} else {
		compact(func(_ context.Context, fn func() error) error { return fn() })
	}
}

func (s *Store) note(warn bool, format string, args ...any) {
	s.opt.Notify(event.StoreNote{At: time.Now(), Warn: warn, What: fmt.Sprintf(format, args...)})
}

// compact makes a copy beside the work that goes on, checks it, lets it follow what was written meanwhile, and has it put in place while
// nothing is written. What memory says stays true, since it refers to records by their keys.
func (s *Store) compact(ctx context.Context, between func(context.Context, func() error) error) (c event.Compacted, err error) {
	ctx, stop, end, err := s.beginCopy(ctx)
	if err != nil {
		return c, err
	}
	defer end()
	began := time.Now()
	info, err := os.Stat(s.path)
	if err != nil {
		return c, err
	}
	c.Before = info.Size()
	copied := compactPath(s.path)
	if err := remove(copied); err != nil {
		return c, err
	}
	r := &replica{s: s, giveUp: stop}
	s.replica.Store(r)
	defer s.replica.Store(nil)
	if err := s.copyAll(ctx, r, copied); err != nil {
		return c, errors.Join(err, remove(copied))
	}
	old, err := s.catchUp(ctx, r, copied, func(fn func() error) error {
		return between(ctx, func() error {
			began := time.Now()
			defer func() { c.Paused = max(c.Paused, time.Since(began)) }()
			return fn()
		})
	})
	if old == nil {
		return c, errors.Join(err, r.db.Close(), remove(copied))
	}
	_ = old.Close() // there is nothing in it that is not in the copy; giving a large file back to the disk takes a while
	if info, err := os.Stat(s.path); err == nil {
		c.After = info.Size()
	}
	c.Took = time.Since(began)
	if err == nil {
		s.opt.Notify(c)
	}
	return c, err
}

// catchUp lets the copy follow until so little is left that everyone can wait for that, then has it put in place. It returns the
// former file when that was done.
func (s *Store) catchUp(ctx context.Context, r *replica, copied string, between func(func() error) error) (old *bolt.DB, err error) {
	for range compactTries {
		if err := r.follow(ctx); err != nil {
			return nil, err
		}
		if s.opt.caught != nil {
			s.opt.caught()
		}
		err = between(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if count, bytes := r.changed.size(); count > lastKeys || bytes > lastBytes {
				return errBehind
			}
			if err := r.follow(ctx); err != nil {
				return err
			}
			if uint64(r.events) != s.st.events {
				return fmt.Errorf("the copy has %d events, the store %d: it was dropped", r.events, s.st.events)
			}
			if err := sayTwice(r.db); err != nil {
				return err
			}
			old, err = s.replace(r.db, copied)
			return err
		})
		if !errors.Is(err, errBehind) {
			break
		}
	}
	return old, err
}

// roomFor refuses to write a file of n bytes where that, or soon after it the store, would fill the disk.
func (s *Store) roomFor(dir string, n int64) error {
	free, err := s.opt.free(dir)
	if err != nil {
		return fmt.Errorf("asking for the room of the disk: %w", err)
	}
	if need := n + n/8 + 32<<20; free < need {
		return fmt.Errorf("the disk of %s has %s free, and the copy needs %s", dir, bytesText(free), bytesText(need))
	}
	return nil
}

// copyAll makes the copy, checks it, and opens it as the store that it will be: locked before it is in place. What it writes is
// synced bit by bit, so that the writer never waits for a disk that has all of it to write.
func (s *Store) copyAll(ctx context.Context, r *replica, copied string) error {
	used, err := s.inUse()
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	if err := s.roomFor(dir, used); err != nil {
		return err
	}
	o := boltOptions()
	o.NoSync = o.NoSync || mutant("no-copy-sync")
	o.InitialMmapSize = 0 // with a large one the file would grow in large steps
	if r.db, err = bolt.Open(copied, 0o600, o); err != nil {
		return err
	}
	err = ownLike(copied, s.path)
	if err == nil {
		err = r.fill(ctx, func(copied int64) error { return s.roomFor(dir, max(0, used-copied)) })
	}
	if err := errors.Join(err, r.db.Close()); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, deepCheckLimit)
	defer cancel()
	report, err := s.opt.DeepCheck(limit, copied)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil {
		err = report.Err()
	}
	if n := report.Records[bucketLog]; err == nil && n != r.events {
		err = fmt.Errorf("it has %d events, and %d were copied", n, r.events)
	}
	if err != nil {
		return fmt.Errorf("the copy is not as it should be, and was dropped: %w", err)
	}
	if r.db, err = openFileAs(copied, s.path); err == nil && mutant("no-copy-sync") {
		r.db.NoSync = true
	}
	return err
}

// inUse is how many bytes of the file are in use.
func (s *Store) inUse() (int64, error) {
	s.file.RLock()
	defer s.file.RUnlock()
	if s.db == nil {
		return 0, s.gone()
	}
	size, reusable := extent(s.db)
	return size - reusable, nil
}

// replace puts the copy in place and goes on with it; it returns the former file, still open. Until the directory is synced nobody can
// say which of the two a power cut leaves there, so nothing is written before; if it can't be synced, nothing ever is.
func (s *Store) replace(next *bolt.DB, copied string) (old *bolt.DB, err error) {
	s.file.Lock()
	if err := os.Rename(copied, s.path); err != nil {
		s.file.Unlock()
		return nil, err
	}
	old, s.db = s.db, next
	next.NoSync = boltOptions().NoSync
	if !mutant("no-swap-sync") {
		err = syncDir(filepath.Dir(s.path))
	}
	s.file.Unlock()
	if err != nil {
		err = fmt.Errorf("putting the compacted store in place: %w; check the disk and start again", err)
		s.fail(err)
	}
	return old, err
}

// sayTwice has both headers of a file that was made in many transactions lead to all of it: else, where the newer one is lost, the
// other would lead to a store that is made in part.
func sayTwice(db *bolt.DB) error {
	if mutant("half-header") {
		return nil
	}
	return transact(db, nil, 0, (*bolt.Tx).Commit)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// ownLike gives a file that root makes to who owns another: the service must be able to open it.
func ownLike(path, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := owner(like)
	if err != nil {
		return err
	}
	return os.Lchown(path, uid, gid)
}
