package store

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// crashDisk is one directory as a disk may hold it when the power goes: what was synced is there, of what was not any part may
// be. A write may be there whole, in part, or not, or as zeros where the file had nothing before; a file's size may have been changed or not; of the changes of the
// directory any may be there that the directory was not yet synced after. It doesn't model a disk that lies about a sync, nor
// one that loses what it was not asked to write.
type crashDisk struct {
	dir     string
	names   map[string]*inode // as the running system sees it
	durable map[string]*inode
	pending []entry // since the directory was last synced
	inodes  []*inode
	offsets map[string]int // of descriptors that are written to in order
}

// entry is a change of the directory. A rename is one change: both of its names change or none.
type entry map[string]*inode // nil: the name is gone

type inode struct {
	size    int // durable
	pages   map[int][]byte
	pending []change
}

// change is a write of data, or of the size.
type change struct {
	offset int
	data   []byte
	resize bool // to offset
}

const (
	diskPage   = 4096
	diskSector = 512
)

func newCrashDisk(dir string) *crashDisk {
	return &crashDisk{dir: dir, names: map[string]*inode{}, durable: map[string]*inode{}, offsets: map[string]int{}}
}

// load takes what the directory has now as durable.
func (d *crashDisk) load() error {
	files, err := os.ReadDir(d.dir)
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(d.dir, file.Name()))
		if err != nil {
			return err
		}
		f := &inode{pages: map[int][]byte{}}
		f.write(0, data)
		f.settle()
		d.inodes = append(d.inodes, f)
		d.names[file.Name()], d.durable[file.Name()] = f, f
	}
	return err
}

// name is the name in the directory that a path stands for; false for what is elsewhere.
func (d *crashDisk) name(path string) (string, bool) {
	name, ok := strings.CutPrefix(path, d.dir+"/")
	return name, ok && name != ""
}

// syncs reports whether the call, when it ends, makes something durable: the moment before is where the power goes.
func (d *crashDisk) syncs(c call) bool {
	return !c.began && !c.failed && (c.name == "fsync" || c.name == "fdatasync") && strings.HasPrefix(c.args[0].path, d.dir)
}

// do follows one call.
func (d *crashDisk) do(c call) error {
	if c.failed && !c.began {
		return nil
	}
	if c.began {
		// What is written may reach the disk from the moment that the call began. How much of it was accepted is known at its end.
		return nil
	}
	switch c.name {
	case "openat":
		name, ok := d.name(c.path(0, 1))
		flags := c.args[2].word
		if !ok || !strings.Contains(flags, "O_CREAT") && !strings.Contains(flags, "O_TRUNC") {
			return nil
		}
		if strings.Contains(flags, "O_TMPFILE") {
			return fmt.Errorf("a file without a name is not modelled")
		}
		f := d.names[name]
		if f == nil {
			f = &inode{pages: map[int][]byte{}}
			d.inodes = append(d.inodes, f)
			d.change(entry{name: f})
		} else if strings.Contains(flags, "O_TRUNC") {
			f.resize(0)
		}
		d.offsets[fmt.Sprint(c.ret, name)] = 0
		return nil
	case "rename", "link":
		return d.moved(c.name, string(c.args[0].text), string(c.args[1].text))
	case "renameat", "renameat2", "linkat":
		return d.moved(c.name, c.path(0, 1), c.path(2, 3))
	case "unlink":
		return d.moved(c.name, string(c.args[0].text), "")
	case "unlinkat":
		if strings.Contains(c.args[2].word, "AT_REMOVEDIR") {
			return nil // a directory is there when it has something in it
		}
		return d.moved(c.name, c.path(0, 1), "")
	case "symlink", "symlinkat", "truncate", "msync":
		return nil // not of files of a store
	}
	if len(c.args) == 0 {
		return nil
	}
	if c.args[0].path == d.dir && c.name == "fsync" {
		d.durable, d.pending = maps.Clone(d.names), nil
		return nil
	}
	name, ok := d.name(c.args[0].path)
	if !ok {
		return nil
	}
	f := d.names[name]
	if f == nil && c.name == "fsync" {
		d.settle(name + "/")
		return nil
	}
	if f == nil {
		return fmt.Errorf("%s of %s, of which nothing is known", c.name, name)
	}
	switch c.name {
	case "pwrite64":
		f.write(c.args[3].int(), c.args[1].text[:c.ret])
	case "write":
		at := fmt.Sprint(c.args[0].word, name)
		f.write(d.offsets[at], c.args[1].text[:c.ret])
		d.offsets[at] += c.ret
	case "ftruncate":
		f.resize(c.args[1].int())
	case "fsync", "fdatasync":
		f.settle()
	default:
		return fmt.Errorf("%s of %s is not modelled", c.name, name)
	}
	return nil
}

// path is the one that two arguments stand for: the directory and the name.
func (c call) path(dir, name int) string {
	text := string(c.args[name].text)
	if filepath.IsAbs(text) {
		return text
	}
	return filepath.Join(c.args[dir].path, text)
}

// settle makes durable what was changed in a directory below, whose names begin with prefix.
func (d *crashDisk) settle(prefix string) {
	d.pending = slices.DeleteFunc(d.pending, func(e entry) bool {
		for name := range e {
			if !strings.HasPrefix(name, prefix) {
				return false
			}
		}
		e.apply(d.durable)
		return true
	})
}

func (d *crashDisk) moved(how, from, to string) error {
	old, ok := d.name(from)
	next, inside := d.name(to)
	f := d.names[old]
	switch {
	case !ok && !inside:
		return nil
	case !ok || to != "" && !inside || f == nil:
		return fmt.Errorf("%s from %s to %s is not modelled", how, from, to)
	case to == "":
		d.change(entry{old: nil})
	case strings.HasPrefix(how, "link"):
		d.change(entry{next: f})
	default:
		d.change(entry{old: nil, next: f})
	}
	return nil
}

func (d *crashDisk) change(e entry) {
	d.pending = append(d.pending, e)
	e.apply(d.names)
}

func (e entry) apply(names map[string]*inode) {
	for name, f := range e {
		if f == nil {
			delete(names, name)
		} else {
			names[name] = f
		}
	}
}

func (f *inode) write(offset int, data []byte) {
	// A disk writes pages, so a long write can be there in part.
	for len(data) > 0 {
		n := min(len(data), diskPage-offset%diskPage)
		f.pending = append(f.pending, change{offset: offset, data: data[:n]})
		offset, data = offset+n, data[n:]
	}
}

func (f *inode) resize(size int) {
	f.pending = append(f.pending, change{offset: size, resize: true})
}

// settle makes everything durable.
func (f *inode) settle() {
	f.size, f.pages = f.image(f.pending)
	f.pending = nil
}

// image is the file with changes made. The pages that don't change are shared.
func (f *inode) image(changes []change) (int, map[int][]byte) {
	size, pages := f.size, maps.Clone(f.pages)
	for _, c := range changes {
		if c.resize {
			for n := range pages {
				if n*diskPage >= c.offset {
					delete(pages, n)
				}
			}
			if page := pages[c.offset/diskPage]; page != nil && c.offset < size {
				cut := make([]byte, diskPage)
				copy(cut, page[:c.offset%diskPage])
				pages[c.offset/diskPage] = cut
			}
			size = c.offset
			continue
		}
		page := make([]byte, diskPage)
		copy(page, pages[c.offset/diskPage])
		copy(page[c.offset%diskPage:], c.data)
		pages[c.offset/diskPage] = page
		size = max(size, c.offset+len(c.data))
	}
	return size, pages
}

// ways are the kinds of accident that befall what was not synced.
var ways = []string{"none", "all", "last only", "all but one", "torn", "zeroed", "sizes only", "no sizes", "subset", "subset", "subset", "torn subset"}

// befall picks which of the changes are on the disk, and how.
func (f *inode) befall(way string, rnd *rand.Rand) []change {
	pending := f.pending
	n := len(pending)
	if n == 0 || way == "none" {
		return nil
	}
	one := rnd.IntN(n)
	var kept []change
	for i, c := range pending {
		keep := true
		switch way {
		case "last only":
			keep = i == n-1
		case "all but one":
			keep = i != one
		case "sizes only":
			keep = c.resize
		case "no sizes":
			keep = !c.resize
		case "subset", "torn subset":
			keep = rnd.IntN(2) == 0
		}
		if (way == "torn" || way == "torn subset") && i == one && !c.resize {
			kept = append(kept, tear(c, rnd)...)
			continue
		}
		if way == "zeroed" && !c.resize && (i == one || rnd.IntN(4) == 0) && f.pages[c.offset/diskPage] == nil {
			c.data = make([]byte, len(c.data)) // the file system gave the file a new block, and lost what was to be in it
		}
		if keep {
			kept = append(kept, c)
		}
	}
	return kept
}

// tear leaves some of the sectors of a write out.
func tear(c change, rnd *rand.Rand) []change {
	var kept []change
	for at := 0; at < len(c.data); at += diskSector {
		if rnd.IntN(2) == 0 {
			kept = append(kept, change{offset: c.offset + at, data: c.data[at:min(at+diskSector, len(c.data))]})
		}
	}
	return kept
}

// crash lays the directory out in dir as one accident leaves it. The number tells equal accidents apart from others.
func (d *crashDisk) crash(dir, way string, rnd *rand.Rand) (uint64, func() error) {
	sum := fnv.New64a()
	names := maps.Clone(d.durable)
	for i, e := range d.pending {
		if way == "all" || way != "none" && (way != "last only" || i == len(d.pending)-1) && rnd.IntN(2) == 0 {
			e.apply(names)
		}
	}
	type file struct {
		name  string
		size  int
		pages map[int][]byte
	}
	var files []file
	made := map[*inode]file{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		it, ok := made[f]
		if !ok {
			changes := f.befall(way, rnd)
			for _, c := range changes {
				fmt.Fprint(sum, slices.Index(d.inodes, f), c.offset, c.resize, len(c.data))
				sum.Write(c.data)
			}
			it.size, it.pages = f.image(changes)
			made[f] = it
		}
		it.name = name
		files = append(files, it)
		fmt.Fprintln(sum, name, slices.Index(d.inodes, f))
	}
	return sum.Sum64(), func() error {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		for _, f := range files {
			path := filepath.Join(dir, f.name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			if err := writePages(path, f.size, f.pages); err != nil {
				return err
			}
		}
		return nil
	}
}

func writePages(path string, size int, pages map[int][]byte) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(int64(size)); err != nil {
		return err
	}
	var run []byte
	first, last := 0, -2
	flush := func() error {
		_, err := out.WriteAt(run[:min(len(run), size-first*diskPage)], int64(first*diskPage))
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(pages)) {
		if n != last+1 {
			if len(run) > 0 {
				if err := flush(); err != nil {
					return err
				}
			}
			run, first = run[:0], n
		}
		run, last = append(run, pages[n]...), n
	}
	if len(run) == 0 {
		return nil
	}
	return flush()
}
