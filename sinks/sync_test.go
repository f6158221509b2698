package sinks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tidings/dispatch"
)

// disk is what a power cut leaves, as far as was synced: the contents of files and the entries of directories.
type disk struct {
	dir     string
	files   map[uint64]string // by inode
	entries map[string]map[string]uint64
	fail    string // syncing what has this in its name fails
}

func watch(f *File, dir string) *disk {
	d := &disk{dir: dir, files: map[uint64]string{}, entries: map[string]map[string]uint64{}}
	f.sync = d.sync
	return d
}

func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

func (d *disk) sync(file *os.File) error {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return err
	}
	if d.fail != "" && strings.Contains(filepath.Base(path), d.fail) {
		return syscall.EIO
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		text, err := os.ReadFile(path)
		d.files[inode(info)] = string(text)
		return err
	}
	d.entries[path] = map[string]uint64{}
	found, err := os.ReadDir(path)
	for _, e := range found {
		info, infoErr := e.Info()
		if infoErr != nil {
			return infoErr
		}
		d.entries[path][e.Name()] = inode(info)
	}
	return err
}

// survives returns what a file holds after a power cut; false: it is not there. What is at path below dir must be reached
// by entries that were synced.
func (d *disk) survives(path string) (string, bool) {
	at := d.dir
	parts := strings.Split(path, "/")
	for i, part := range parts {
		entry, found := d.entries[at][part]
		if !found {
			return "", false
		}
		if at = filepath.Join(at, part); i == len(parts)-1 {
			text, found := d.files[entry]
			return text, found
		}
	}
	return "", false
}

func TestFileThatIsDoneSurvivesAPowerCut(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := newFile(t, FileOptions{Path: dir + "/new/er/%Y/%d.jsonl"})
	d := watch(f, dir)
	allDone(t, f.Deliver(t.Context(), owed(on(1, "1"), on(2, "2"), on(1, "3"))))
	allDone(t, f.Deliver(t.Context(), owed(on(1, "4"))))
	for path, want := range map[string]string{"new/er/2026/01.jsonl": "1\n3\n4\n", "new/er/2026/02.jsonl": "2\n"} {
		if got, found := d.survives(path); got != want {
			t.Errorf("%s holds %q after a power cut (it is there: %v), want %q", path, got, found, want)
		}
	}

	f = newFile(t, FileOptions{Spool: dir + "/a/spool"})
	d = watch(f, dir)
	allDone(t, f.Deliver(t.Context(), owed(on(1, "1"), on(2, "2"))))
	for day, want := range map[int]string{1: "1", 2: "2"} {
		if got, found := d.survives("a/spool/" + spoolName(on(day, ""))); got != want {
			t.Errorf("the file of day %d holds %q after a power cut (it is there: %v)", day, got, found)
		}
	}
}

func TestFileIsNotDoneWhenItCanNotBeSynced(t *testing.T) {
	for name, o := range map[string]FileOptions{"lines": {Path: "a/%d.jsonl"}, "spool": {Spool: "a"}} {
		// The file itself, its directory, and the directory above that one.
		for _, fail := range []string{"json", "a", "TOP"} {
			t.Run(name+" "+fail, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "TOP")
				if err := os.Mkdir(dir, 0o750); err != nil {
					t.Fatal(err)
				}
				o := o
				if o.Path != "" {
					o.Path = dir + "/" + o.Path
				} else {
					o.Spool = dir + "/" + o.Spool
				}
				f := newFile(t, o)
				d := watch(f, dir)
				d.fail = fail
				for range 2 { // what failed once is not taken for done the second time
					for i, r := range f.Deliver(t.Context(), owed(on(1, "1"), on(2, "2"))) {
						if r.Verdict != dispatch.Retry || !strings.Contains(r.Reason, "input/output error") {
							t.Errorf("event %d: %+v", i, r)
						}
					}
				}
				d.fail = ""
				allDone(t, f.Deliver(t.Context(), owed(on(1, "1"), on(2, "2"))))
				if f.name == nil {
					if left, _ := os.ReadDir(o.Spool); len(left) != 2 {
						t.Errorf("%v is left in the spool", left)
					}
				}
			})
		}
	}
}
