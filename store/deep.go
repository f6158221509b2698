package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// CheckReport is what a deep check found.
type CheckReport struct {
	Path       string         `json:"path"`
	Size       int64          `json:"size"`
	Records    map[string]int `json:"records"`            // by bucket
	Unreadable int            `json:"unreadable"`         // records whose checksum is wrong: each is set aside when it is met
	Samples    []string       `json:"samples,omitempty"`  // which, the first few
	Problems   []string       `json:"problems,omitempty"` // of the structure: with one the store is damaged
	Warning    string         `json:"warning,omitempty"`
}

// Err is nil for a whole structure.
func (r CheckReport) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	more := ""
	if n := len(r.Problems) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return errors.New(r.Problems[0] + more)
}

// A DeepCheck checks every page and every record of a file that no one else has open. It is run in another process: what a
// damaged file does to bbolt can't be caught in this one.
type DeepCheck func(ctx context.Context, path string) (CheckReport, error)

// CheckFile is the deep check itself. First everything is read without bbolt, and only what is whole is given to bbolt's own
// check. An error means that it could not be made.
func CheckFile(_ context.Context, path string) (CheckReport, error) {
	r := CheckReport{Path: path, Records: map[string]int{}}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return r, notAllowed(err)
	}
	if err != nil {
		return r, fmt.Errorf("can't check the store: %w", err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return r, &InUseError{Path: path, PID: readPID(path)}
	}
	p, err := inspect(f)
	r.Size, r.Warning = p.size, p.warning
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
		return r, nil
	}
	w := newTree(f, p.headers[0], p.size)
	outlined(w, func(bucket string, e element) {
		bucket = family(bucket)
		r.Records[bucket]++
		if (bucket != bucketMeta || string(e.key) == metaClock) && !intact(e.key, e.value) {
			r.Unreadable++
			if len(r.Samples) < maxDamage {
				r.Samples = append(r.Samples, bucketKey(bucket, e.key))
			}
		}
	})
	for _, err := range w.damage {
		r.Problems = append(r.Problems, err.Error())
	}
	if len(r.Problems) > 0 {
		return r, nil
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockWait})
	if errors.Is(err, berrors.ErrTimeout) {
		return r, &InUseError{Path: path, PID: readPID(path)}
	}
	if err != nil {
		return r, fmt.Errorf("can't check the store %s: %w", path, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if r.Warning == "" { // bbolt's own check stops at a header that is not as it should be, and everything else was read already
			for err := range tx.Check() {
				if len(r.Problems) < maxDamage {
					r.Problems = append(r.Problems, pageFault(err).Error())
				}
			}
		}
		if _, err := checkSchema(tx); err != nil {
			r.Problems = append(r.Problems, err.Error())
		}
		return nil
	})
	return r, errors.Join(err, db.Close())
}

// family is the bucket's name without what differs between buckets of a kind.
func family(bucket string) string {
	if strings.HasPrefix(bucket, bucketRun+"/") {
		return bucketRun
	}
	return bucket
}

// intact reports whether value is a record of ours under key, of whatever kind, by its checksum.
func intact(key, value []byte) bool {
	return len(value) >= recordHead && value[0] >= 'A' && value[0] <= 'Z' &&
		checksum(key, value[:2], value[recordHead:]) == binary.BigEndian.Uint32(value[2:])
}

// CheckHeader reads only a file's headers, and says whether another process has it open. An error says why it is no store.
func CheckHeader(path string) (inUse bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if _, err := inspect(f); err != nil {
		return false, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), nil
}

// IsPlace reports whether path is where a daemon keeps its store: the mark stands beside it.
func IsPlace(path string) bool {
	_, err := os.Stat(markerPath(path))
	return !errors.Is(err, os.ErrNotExist)
}
