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
	Path    string
	Witness string // the file beside it that says that there was one
	Empty   bool
}

func (e *MissingError) Error() string {
	what := "is missing"
	if e.Empty {
		what = "is an empty file"
	}
	return fmt.Sprintf("the store %s %s, and %s says that there was one: restore a backup, or run \"tidings store repair\", "+
		"which makes a new one and says what is lost (with --reinit an empty one, to start from nothing)", e.Path, what, e.Witness)
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
	err := Present(path)
	if errors.Is(err, os.ErrNotExist) && o.Create {
		err = createAt(path, o)
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w; give the user that this runs as a data_dir that it can write to", err)
		}
		return err
	}
	if err != nil {
		return err
	}
	return refuseNetworkFS(filepath.Dir(path), o)
}

func createAt(path string, o Options) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("can't create the store %s: %w", path, err)
	}
	if err := refuseNetworkFS(dir, o); err != nil {
		return err
	}
	if err := create(path); err != nil {
		return fmt.Errorf("can't create the store %s: %w", path, err)
	}
	return nil
}

// Present says why there is nothing at path that could be opened: it is gone, which is a *MissingError, never was, which wraps
// os.ErrNotExist, is empty or is no file.
func Present(path string) error {
	witness, had := hadStore(path)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && had:
		return &MissingError{Path: path, Witness: witness}
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("there is no store at %s yet: %w", path, os.ErrNotExist)
	case errors.Is(err, os.ErrPermission):
		return notAllowed(err)
	case err != nil:
		return fmt.Errorf("can't open the store: %w", err)
	case info.Size() == 0 && had && info.Mode().IsRegular():
		return &MissingError{Path: path, Witness: witness, Empty: true}
	case info.Size() == 0 && info.Mode().IsRegular():
		return fmt.Errorf("the store %s is an empty file: restore it from a backup, or remove it to start from nothing", path)
	}
	return regular(path, info)
}

// regular refuses what is no file by itself: a compaction and a repair put a new one in its place.
func regular(path string, info os.FileInfo) error {
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("the store %s is a symbolic link, which a compaction would replace: put the file itself there, or name its directory as data_dir", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("the store %s is no file: move it away, then restore a backup, or run \"tidings store repair\"", path)
	}
	return nil
}

func notAllowed(err error) error {
	return fmt.Errorf("can't open the store: %w; run this as the user that it belongs to, with sudo -u", err)
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
	for _, name := range []string{path, markerPath(path), sidePath(path), pidPath(path)} {
		left, _ := filepath.Glob(name + ".new-*")
		for _, l := range left {
			if info, err := os.Stat(l); err == nil && time.Since(info.ModTime()) > time.Hour {
				_ = os.Remove(l)
			}
		}
	}
}
