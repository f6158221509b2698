package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// deepCheckLimit bounds a deep check.
const deepCheckLimit = 10 * time.Minute

// MissingError: there is no store, or an empty file, where one was before. Nothing was changed.
type MissingError struct {
	Path  string
	Empty bool
}

func (e *MissingError) Error() string {
	what := "is missing"
	if e.Empty {
		what = "is an empty file"
	}
	return fmt.Sprintf("the store %s %s, and %s says that there was one: restore a backup, or run \"tidings store repair\", "+
		"which makes a new one and says what is lost", e.Path, what, markerPath(e.Path))
}

// Unwrap lets a missing store be os.ErrNotExist to nobody: it must not be taken for one that was never made.
func (e *MissingError) Unwrap() error { return nil }

// openFirst opens the store for the first time in this process: only a first start may find nothing there, and a file whose
// header is doubtful is read in full by another process before this one relies on it.
func openFirst(path string, o Options) (*bolt.DB, error) {
	if err := place(path, o); err != nil {
		return nil, err
	}
	// Who put the file in place may have been killed before this, or may be a person: what is promised from here on is in this file.
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("can't open the store %s: syncing its directory: %w", path, err)
	}
	if warning := doubt(path); warning != "" {
		ctx, cancel := context.WithTimeout(context.Background(), deepCheckLimit)
		defer cancel()
		report, err := o.DeepCheck(ctx, path)
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			return nil, damaged(path, fmt.Errorf("%s; then a check of all of it: %w", warning, err))
		}
		o.Notify(event.StoreNote{At: time.Now(), Warn: true, What: "of " + path + " " + warning + "; everything else of it is whole"})
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	removeStale(path)
	if err := recognise(db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// place sees that there is a file to open.
func place(path string, o Options) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && hadStore(path):
		return &MissingError{Path: path}
	case errors.Is(err, os.ErrNotExist) && o.Create:
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("can't create the store %s: %w", path, err)
		}
		if err := refuseNetworkFS(filepath.Dir(path), o); err != nil {
			return err
		}
		if err := create(path); err != nil {
			return fmt.Errorf("can't create the store %s: %w", path, err)
		}
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no store at %s yet: %w", path, os.ErrNotExist)
	case err != nil:
		return fmt.Errorf("can't open the store: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("the store %s is no file", path)
	case info.Size() == 0 && hadStore(path):
		return &MissingError{Path: path, Empty: true}
	case info.Size() == 0:
		return fmt.Errorf("the store %s is an empty file: restore it from a backup, or remove it to start from nothing", path)
	}
	return refuseNetworkFS(filepath.Dir(path), o)
}

// doubt says what makes a deep check worth its time; a file that is in use or can't be opened is left to who opens it.
func doubt(path string) string {
	f, err := grab(path, path)
	if err != nil {
		return ""
	}
	defer f.Close()
	p, err := inspect(f)
	if err != nil {
		return ""
	}
	return p.warning
}

// recognise compares the store with the mark beside it, and makes the mark where there is none.
func recognise(db *bolt.DB, path string) error {
	var id identity
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		if copy(id.uuid[:], meta.Get([]byte("uuid"))) < 16 || copy(id.hashKey[:], meta.Get([]byte("hashkey"))) < 16 {
			return damaged(path, errors.New("what makes it recognisable is missing"))
		}
		return nil
	})
	if err != nil {
		return err
	}
	marked, err := readMarker(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errMarker):
		if err := replaceFile(markerPath(path), []byte(id.text())); err != nil {
			return fmt.Errorf("can't mark that there is a store: %w", err)
		}
	case err != nil:
		return fmt.Errorf("can't read the mark beside the store: %w", err)
	case marked == id:
	case marked.uuid == id.uuid:
		return damaged(path, fmt.Errorf("its key is another than %s says", markerPath(path)))
	default:
		return fmt.Errorf("%s is another store than the one that %s names: put that one back, or remove %[2]s if it is meant to be replaced",
			path, markerPath(path))
	}
	return nil
}

// removeStale removes what an end in the middle of something left behind. The store is locked, so nobody else is at it.
func removeStale(path string) {
	_ = os.Remove(compactPath(path))
	_ = os.RemoveAll(repairPath(path))
	for _, name := range []string{path, markerPath(path), sidePath(path)} {
		left, _ := filepath.Glob(name + ".new-*")
		for _, l := range left {
			if info, err := os.Stat(l); err == nil && time.Since(info.ModTime()) > time.Hour {
				_ = os.Remove(l)
			}
		}
	}
}
