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
	compactAt    = 256 << 20 // bytes: a smaller file is not worth it, and more than this in use is not copied while others wait
	compactFree  = 60        // percent of the file that must be free
	compactEvery = 10 * time.Minute
	compactTx    = 8 << 20 // bytes in one transaction of the copy
)

var errBusy = errors.New("a backup is being made: try again when it has ended")

func compactPath(path string) string { return path + ".compact" }

// Compact copies what the file holds into a new one that takes its place. Everyone who writes waits for it; readers go on.
func (s *Store) Compact(ctx context.Context) (event.Compacted, error) {
	var c event.Compacted
	err := s.send(ctx, &request{between: func() (err error) {
		c, err = s.compact()
		return err
	}})
	return c, err
}

// shrink compacts the file when most of it is free: at opening whatever it holds, later only what is copied in about a second,
// since everyone who writes waits for it.
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
	if used*100 > info.Size()*(100-compactFree) || online && used > s.opt.compactAt {
		return
	}
	s.shrunk = time.Now()
	c, err := s.compact()
	switch {
	case errors.Is(err, errBusy):
	case err != nil:
		s.note(true, "%s of %s is free, but it could not be compacted: %v", bytesText(info.Size()-used), bytesText(info.Size()), err)
	default:
		s.note(false, "compacted from %s to %s in %s", bytesText(c.Before), bytesText(c.After), c.Took.Round(time.Millisecond))
	}
}

func (s *Store) note(warn bool, format string, args ...any) {
	s.opt.Notify(event.StoreNote{At: time.Now(), Warn: warn, What: fmt.Sprintf(format, args...)})
}

// compact is made by the writer, or before there is one: nothing is written meanwhile. What memory says stays true, since it
// refers to records by their keys.
func (s *Store) compact() (c event.Compacted, err error) {
	if s.db == nil {
		return c, s.gone()
	}
	if !s.copying.TryLock() {
		return c, errBusy
	}
	defer s.copying.Unlock()
	began := time.Now()
	info, err := os.Stat(s.path)
	if err != nil {
		return c, err
	}
	c.Before = info.Size()
	size, reusable := extent(s.db)
	if err := s.roomFor(filepath.Dir(s.path), size-reusable); err != nil {
		return c, err
	}
	copied := compactPath(s.path)
	next, err := s.compacted(copied)
	if err != nil {
		return c, errors.Join(err, remove(copied))
	}
	if err := s.replace(next, copied); err != nil {
		return c, err
	}
	if info, err := os.Stat(s.path); err == nil {
		c.After = info.Size()
	}
	c.Took = time.Since(began)
	return c, nil
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

// compacted makes the copy, checks it, and opens it as the store that it will be: locked before it is in place.
func (s *Store) compacted(copied string) (*bolt.DB, error) {
	if err := remove(copied); err != nil {
		return nil, err
	}
	o := boltOptions()
	o.NoSync = true       // it is synced whole before anything relies on it
	o.InitialMmapSize = 0 // with a large one the file would grow in large steps
	dst, err := bolt.Open(copied, 0o600, o)
	if err != nil {
		return nil, err
	}
	err = errors.Join(ownLike(copied, s.path), bolt.Compact(dst, s.db, compactTx))
	if err == nil {
		if !mutant("no-copy-sync") {
			err = dst.Sync()
		}
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deepCheckLimit)
	defer cancel()
	report, err := s.opt.DeepCheck(ctx, copied)
	if err == nil {
		err = report.Err()
	}
	if n := report.Records[bucketLog]; err == nil && uint64(n) != s.st.events {
		err = fmt.Errorf("it has %d events, the store %d", n, s.st.events)
	}
	if err != nil {
		return nil, fmt.Errorf("the copy is not as it should be, and was dropped: %w", err)
	}
	return openFileAs(copied, s.path)
}

// replace puts the copy in place and goes on with it. Until the directory is synced nobody can say which of the two files a
// power cut leaves there, so nothing is written before; if it can't be synced, nothing ever is.
func (s *Store) replace(next *bolt.DB, copied string) error {
	s.file.Lock()
	if err := os.Rename(copied, s.path); err != nil {
		s.file.Unlock()
		return errors.Join(err, next.Close(), remove(copied))
	}
	old := s.db
	s.db = next
	_ = old.Close() // there is nothing in it that is not in the copy
	err := syncDir(filepath.Dir(s.path))
	s.file.Unlock()
	if err != nil {
		s.fail(fmt.Errorf("putting the compacted store in place: %w; check the disk and start again", err))
	}
	return err
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
