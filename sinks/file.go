package sinks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/lestrrat-go/strftime"

	"tidings/dispatch"
	"tidings/event"
)

const (
	dirMode  = 0o750
	fileMode = 0o640
)

// FileOptions describe where events are written: a file of lines, or a directory of files.
type FileOptions struct {
	Path     string         // of a file that lines are appended to; strftime, by the time the event was taken in
	Spool    string         // instead: a directory that gets one file an event
	Timezone *time.Location // of Path; nil: UTC
	Format   Format
}

// File appends events to files as JSON lines, or writes one file an event. What it says is done is synced to disk.
//
// It opens a file anew for each batch, so it follows whatever was moved, replaced, truncated or deleted meanwhile, and has
// nothing to reload. The directory before the first % of the path, or the spool, confines it: no symlink below leads out.
type File struct {
	o    FileOptions
	base string             // the directory that confines
	name *strftime.Strftime // of the file below base; nil: a spool
	sync func(*os.File) error
}

// NewFile checks the options. It creates nothing.
func NewFile(o FileOptions) (*File, error) {
	if err := o.Format.check(); err != nil {
		return nil, err
	}
	if o.Timezone == nil {
		o.Timezone = time.UTC
	}
	if (o.Path == "") == (o.Spool == "") {
		return nil, errors.New("give a path or a spool, and not both")
	}
	if o.Spool != "" {
		return &File{o: o, base: filepath.Clean(o.Spool), sync: (*os.File).Sync}, nil
	}
	static, _, _ := strings.Cut(o.Path, "%")
	slash := strings.LastIndexByte(static, '/') + 1
	name, err := strftime.New(o.Path[slash:])
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", o.Path, err)
	}
	if strings.HasSuffix(o.Path, "/") {
		return nil, fmt.Errorf("path %q names a directory: add a file name such as %%Y-%%m-%%d.jsonl", o.Path)
	}
	return &File{o: o, base: filepath.Clean(cmp.Or(o.Path[:slash], ".")), name: name, sync: (*os.File).Sync}, nil
}

// Deliver writes the batch in its order and syncs each file once. A write can't be cut off: ctx only keeps it from beginning.
func (f *File) Deliver(ctx context.Context, batch []event.Delivery) []dispatch.Result {
	results := make([]dispatch.Result, len(batch))
	if err := ctx.Err(); err != nil {
		fill(results, all(batch), dispatch.Result{Verdict: dispatch.Retry, Reason: "There was no time left to write the file"})
		return results
	}
	root, err := f.openBase(f.base)
	if err != nil {
		fill(results, all(batch), f.failed("open directory "+f.base, err))
		return results
	}
	defer root.Close()
	if f.name == nil {
		f.spool(root, batch, results)
	} else {
		f.lines(root, batch, results)
	}
	return results
}

// lines appends each event to its file, files in the order in which they first occur.
func (f *File) lines(root *os.Root, batch []event.Delivery, results []dispatch.Result) {
	var names []string
	of := map[string][]int{}
	for i, d := range batch {
		name := filepath.Clean(f.name.FormatString(d.Event.Received.In(f.o.Timezone)))
		if of[name] == nil {
			names = append(names, name)
		}
		of[name] = append(of[name], i)
	}
	for _, name := range names {
		events := of[name]
		written, err := f.append(root, name, batch, events)
		fill(results, events[:written], dispatch.Result{Verdict: dispatch.Done})
		if err != nil {
			fill(results, events[written:], f.failed("write "+filepath.Join(f.base, name), err))
		}
	}
}

// append writes those events of the batch to one file and says how many of them are there, synced.
func (f *File) append(root *os.Root, name string, batch []event.Delivery, events []int) (written int, err error) {
	file, size, err := f.openLines(root, name)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closed := file.Close(); err == nil && closed != nil {
			written, err = 0, closed
		}
	}()
	for _, i := range events {
		line := f.o.Format.line(batch[i].Event)
		n, writeErr := file.Write(line)
		if writeErr != nil {
			err = writeErr
			takeBack(file, size, int64(n))
			break
		}
		size += int64(n)
		written++
	}
	if written > 0 {
		if syncErr := f.sync(file); syncErr != nil {
			return 0, syncErr
		}
	}
	return written, err
}

// openLines opens a file to append lines to and returns its size. If its last line has no newline, it gets one: what was
// torn by a crash is not glued to what follows. The entry of a file that is empty may not be on disk yet, so it is synced.
func (f *File) openLines(root *os.Root, name string) (file *os.File, size int64, err error) {
	const flags = os.O_RDWR | os.O_APPEND | os.O_CREATE
	file, err = root.OpenFile(name, flags, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		if err = root.MkdirAll(filepath.Dir(name), dirMode); err == nil {
			file, err = root.OpenFile(name, flags, fileMode)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("it is not a regular file")
	}
	if size = info.Size(); size == 0 {
		return file, 0, f.syncDirs(root, filepath.Dir(name))
	}
	last := make([]byte, 1)
	if _, err = file.ReadAt(last, size-1); err == nil && last[0] != '\n' {
		_, err = file.WriteString("\n")
		size++
	}
	return file, size, err
}

// takeBack removes n bytes of a line that was cut short, unless somebody else wrote behind them. Where it can't, the next
// opening ends the torn line.
func takeBack(file *os.File, size, n int64) {
	if info, err := file.Stat(); err == nil && n > 0 && info.Size() == size+n {
		_ = file.Truncate(size)
	}
}

// syncDirs makes the entries of dir and of all directories above it, up to the root, durable.
func (f *File) syncDirs(root *os.Root, dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		d, err := root.Open(dir)
		if err != nil {
			return err
		}
		err = f.sync(d)
		d.Close()
		if err != nil || dir == "." {
			return err
		}
	}
}

// openBase opens the directory that confines the sink; it makes it, durably, where it is missing.
func (f *File) openBase(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
		return root, err
	}
	parent, err := f.openBase(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := f.syncDirs(parent, "."); err != nil {
		_ = os.Remove(dir) // so that the next try syncs it
		return nil, err
	}
	return os.OpenRoot(dir)
}

// failed is the result of a write that did not succeed.
func (f *File) failed(what string, err error) dispatch.Result {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the path stands in what was done
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "; make room on that disk"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		hint = "; the user that tidings runs as must be able to write there"
	case strings.Contains(err.Error(), "escapes from parent"): // os.Root has no name for it
		hint = "; a symbolic link there leads out of the directory that the path begins with: name the place itself in the path"
	case errors.Is(err, syscall.EROFS):
		hint = "; under systemd, ReadWritePaths= makes a directory writable"
	}
	return dispatch.Result{Verdict: dispatch.Retry, Reason: fmt.Sprintf("Can't %s: %v%s", what, err, hint)}
}

func all(batch []event.Delivery) []int {
	indices := make([]int, len(batch))
	for i := range indices {
		indices[i] = i
	}
	return indices
}

func fill(results []dispatch.Result, indices []int, r dispatch.Result) {
	for _, i := range indices {
		results[i] = r
	}
}
