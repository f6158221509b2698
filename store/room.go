package store

import (
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// room is what the writer knows of its limits.
type room struct {
	used    int64 // bytes in use of the file
	free    int64 // of the disk
	asked   time.Time
	full    string // why nothing is taken in; empty: there is room
	limit   string // that full is about
	strikes int    // transactions in a row whose outcome is unknown
}

// measure looks at what is in use and what the disk has left, the latter at most once a second.
func (r *room) measure(s *Store) {
	if s.db == nil {
		return
	}
	size, reusable := extent(s.db)
	r.used = size - reusable
	r.full, r.limit = "", ""
	if s.opt.MaxSize > 0 && r.used > s.opt.MaxSize {
		r.limit = event.LimitSize
		r.full = fmt.Sprintf("it uses %s, more than max_size %s", bytesText(r.used), bytesText(s.opt.MaxSize))
	}
	if s.opt.MinFree > 0 {
		if now := time.Now(); r.asked.IsZero() || now.Sub(r.asked) >= time.Second {
			if free, err := s.opt.free(filepath.Dir(s.path)); err == nil {
				r.free, r.asked = free, now
			}
		}
		// Pages that the file has already and no longer needs are room too: without them, letting history go would not help.
		if !r.asked.IsZero() && r.free+reusable < s.opt.MinFree {
			r.limit = event.LimitFree
			r.full = fmt.Sprintf("the disk of %s has %s free, less than min_free %s", filepath.Dir(s.path), bytesText(r.free), bytesText(s.opt.MinFree))
		}
	}
	s.mu.Lock()
	s.full, s.limit = r.full, r.limit
	s.mu.Unlock()
}

// extent returns how many bytes of the file have ever been used and how many of these are free again.
func extent(db *bolt.DB) (size, reusable int64) {
	_ = db.View(func(tx *bolt.Tx) error {
		size = tx.Size()
		return nil
	})
	stats := db.Stats()
	return size, int64(stats.FreePageN+stats.PendingPageN) * int64(db.Info().PageSize)
}

func diskFree(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
