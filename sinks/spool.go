package sinks

import (
	"os"
	"path/filepath"

	"tidings/dispatch"
	"tidings/event"
)

// spool writes one file an event: under a hidden name first, synced, then renamed, so that a reader never sees a part of one.
// All share one sync of the directory.
func (f *File) spool(root *os.Root, batch []event.Delivery, results []dispatch.Result) {
	var renamed []int
	for i, d := range batch {
		name := spoolName(d.Event)
		if err := f.drop(root, name, f.o.Format.body(d.Event)); err != nil {
			results[i] = f.failed("write "+filepath.Join(f.base, name), err)
		} else {
			renamed = append(renamed, i)
		}
	}
	if len(renamed) == 0 {
		return
	}
	r := dispatch.Result{Verdict: dispatch.Done}
	if err := f.syncDirs(root, "."); err != nil {
		r = f.failed("sync directory "+f.base, err)
	}
	fill(results, renamed, r)
}

// spoolName sorts by the time of taking in. It is the same whenever the event is delivered, so a repeat replaces the file
// instead of adding one. Neither sources nor webhook ids hold a dot.
func spoolName(e event.Event) string {
	return e.Received.UTC().Format("20060102T150405.000000000Z") + "." + e.Source + "." + webhookID(e) + ".json"
}

// drop leaves no hidden file behind but for a crash; the repeat that follows a crash takes the same name.
func (f *File) drop(root *os.Root, name string, body []byte) error {
	hidden := "." + name
	file, err := root.OpenFile(hidden, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = file.Write(body)
	if err == nil {
		err = f.sync(file)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = root.Rename(hidden, name)
	}
	if err != nil {
		_ = root.Remove(hidden)
	}
	return err
}
