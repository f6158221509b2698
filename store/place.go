package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// PlaceFile puts a file in place: beside it, it is written, synced and checked, and only then takes its name. So it is there as a
// whole or not at all, whenever the power fails, and one that was there before stays until then. check may be nil. What a former
// one left that was killed is removed.
func PlaceFile(file string, write func(*os.File) error, check func(path string) error) error {
	temporary := "." + filepath.Base(file) + ".partial-"
	removeLeft(filepath.Dir(file), temporary)
	return placeFile(file, temporary, write, check)
}

// removeLeft removes files that begin so and that no process holds.
func removeLeft(dir, prefix string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		path := filepath.Join(dir, e.Name())
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() {
			continue
		}
		if f, err := os.Open(path); err == nil {
			if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
				_ = os.Remove(path)
			}
			_ = f.Close()
		}
	}
}

// placeFile is PlaceFile with the beginning of the temporary name.
func placeFile(file, temporary string, write func(*os.File) error, check func(path string) error) error {
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return fmt.Errorf("can't write %s: %w", file, err)
	}
	defer f.Close()                                 // it was synced
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_SH) // until then it is no leftover
	err = write(f)
	if err == nil && !mutant("no-place-sync") {
		err = f.Sync()
	}
	if err == nil && check != nil {
		err = check(f.Name())
	}
	if err == nil {
		if err = os.Rename(f.Name(), file); err == nil {
			return syncDir(dir)
		}
	}
	return errors.Join(err, remove(f.Name()))
}

// replaceFile puts a small file of the store in place.
func replaceFile(path string, data []byte) error {
	return placeFile(path, filepath.Base(path)+".new-", func(f *os.File) error {
		_, err := f.Write(data)
		return errors.Join(err, ownLike(f.Name(), filepath.Dir(path)))
	}, nil)
}

func syncDir(dir string) error {
	if mutants && mutant("no-dir-sync") {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
