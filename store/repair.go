package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidings/event"
)

// RepairOptions say how a store is repaired.
type RepairOptions struct {
	FromNothing bool // make an empty store and take nothing over, not even positions
	DeepCheck   DeepCheck
	Progress    func(done, total int64) // of the bytes that are read; may be nil
}

// RepairReport says what a repair found, kept and lost.
type RepairReport struct {
	Path       string         `json:"path"`
	Whole      bool           `json:"whole"`            // there is nothing to repair
	Unreadable int            `json:"unreadable"`       // records whose checksum is wrong; where it is whole, the daemon sets each aside
	Damage     []string       `json:"damage,omitempty"` // what is wrong, the first few
	Kept       map[string]int `json:"kept"`             // records, by what they are
	Back       map[string]int `json:"back,omitempty"`   // of these: found in pages that may be old, so they may have been settled or replaced
	Lost       []string       `json:"lost,omitempty"`
	Notes      []string       `json:"notes,omitempty"`
	Aside      string         `json:"aside,omitempty"` // where the damaged file is now, once the repair is made
}

func (r *RepairReport) damage(format string, args ...any) {
	if len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, fmt.Sprintf(format, args...))
	}
}

func (r *RepairReport) lose(format string, args ...any) {
	r.Lost = append(r.Lost, fmt.Sprintf(format, args...))
}

func (r *RepairReport) back(bucket string) { r.Back[content(bucket)]++ }

// content names what is in a bucket.
func content(bucket string) string {
	switch {
	case bucket == bucketLog:
		return "events"
	case bucket == bucketSrc:
		return "positions"
	case bucket == bucketSink:
		return "sinks"
	case bucket == bucketIDs, family(bucket) == bucketRun:
		return "chunks of remembered ids"
	case strings.HasPrefix(bucket, prefixX):
		return "failing deliveries"
	case strings.HasPrefix(bucket, prefixDead):
		return "dead letters"
	case bucket == bucketAside:
		return "items set aside"
	case bucket == bucketTries, bucket == bucketFails:
		return "records of attempts"
	case bucket == bucketAgain:
		return "replays"
	}
	return "other records"
}

// Repair is a repair that is worked out and not made: the new store stands beside the old one, which is locked until Apply or
// Discard.
type Repair struct {
	Report  RepairReport
	path    string
	workDir string
	lock    *os.File // nil: there is no file
	mark    identity
}

// PlanRepair works out what can be saved of the store at path. Nothing of it is changed; it takes as much room as is saved. A store
// that another process has open is an *InUseError.
func PlanRepair(ctx context.Context, path string, o RepairOptions) (*Repair, error) {
	if o.DeepCheck == nil {
		o.DeepCheck = CheckFile
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	r := &Repair{path: path, workDir: repairPath(path), Report: RepairReport{Path: path, Kept: map[string]int{}, Back: map[string]int{}}}
	if info, err := os.Lstat(path); err == nil {
		if err := regular(path, info); err != nil {
			return nil, err
		}
	}
	lock, err := grab(path, path)
	_, had := hadStore(path)
	switch {
	case err == nil:
		r.lock = lock
	case errors.Is(err, os.ErrNotExist) && (had || o.FromNothing):
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("there is no store at %s, and there never was one: there is nothing to repair", path)
	case errors.Is(err, os.ErrPermission):
		return nil, notAllowed(err)
	default:
		return nil, err
	}
	if err := r.plan(ctx, o); err != nil {
		return nil, errors.Join(err, r.Discard())
	}
	return r, nil
}

func (r *Repair) plan(ctx context.Context, o RepairOptions) error {
	s := &salvage{path: r.path, f: r.lock, progress: o.Progress, report: &r.Report}
	marked, err := readMarker(r.path)
	s.mark, s.marked = marked, err == nil
	if r.lock == nil {
		r.Report.damage("it is missing")
	} else {
		pre, err := inspect(r.lock)
		if s.pre = pre; err != nil {
			r.Report.damage("%v", err)
		}
	}
	if s.side, s.sideAt, err = readSide(r.path); err != nil {
		r.Report.Notes = append(r.Report.Notes, fmt.Sprintf("there is no side copy of the positions: %v", err))
	}
	if o.FromNothing {
		*s = salvage{path: r.path, progress: o.Progress, report: &r.Report, marked: true}
		r.Report.lose("everything, as was asked for: sources begin by their `start`")
		rand.Read(s.mark.uuid[:])
		rand.Read(s.mark.hashKey[:])
	}
	s.survey()
	if free, err := diskFree(filepath.Dir(r.path)); err == nil && free < s.pre.size+s.pre.size/8+32<<20 {
		return fmt.Errorf("the disk of %s has %s free, and a repair needs room for a second store of %s: make room", r.path, bytesText(free), bytesText(s.pre.size))
	}
	if err := errors.Join(os.RemoveAll(r.workDir), os.Mkdir(r.workDir, 0o700)); err != nil {
		return fmt.Errorf("a repair is worked out beside the store, and can't be written there: %w; nothing was changed", err)
	}
	if len(r.Report.Damage) == 0 && !o.FromNothing && !s.outline.newer() {
		switch {
		case s.incomplete():
			r.Report.damage("it lacks something that every store has, or a record that nothing works without can't be read")
		case r.same(s), mutant("blind-outline"):
			err := r.rehearse(ctx, o)
			if _, system := errors.AsType[syscall.Errno](err); system || ctx.Err() != nil {
				return err
			}
			if err == nil || mutant("blind-outline") {
				r.Report.Whole = true
				return nil
			}
			// The daemon finds what the survey doesn't: no part of it is believed as a whole.
			if refused, ok := errors.AsType[*DamagedError](err); ok {
				err = refused.Why
			}
			r.Report.damage("%v", err)
			s.distrust()
		}
	}
	if s.out, err = rebuild(r.saved()); err != nil {
		return err
	}
	s.pile = &pile{dir: r.workDir, chunks: map[[12]byte]bool{}}
	err = s.write()
	if err := errors.Join(err, s.pile.close(), s.out.close()); err != nil {
		return fmt.Errorf("saving what can be read: %w", err)
	}
	if !o.FromNothing {
		s.losses()
	}
	r.mark = s.mark
	for bucket, n := range s.out.kept {
		if bucket != bucketMeta && bucket != bucketRuns {
			r.Report.Kept[content(bucket)] += n
		}
	}
	return r.try(ctx, o)
}

func repairPath(path string) string { return path + ".repair" }

func (r *Repair) saved() string { return filepath.Join(r.workDir, filepath.Base(r.path)) }

// same reports whether the store is the one that the mark beside it names, where there is one.
func (r *Repair) same(s *salvage) bool {
	if s.marked && (!bytes.Equal(s.outline.meta["uuid"], s.mark.uuid[:]) || !bytes.Equal(s.outline.meta["hashkey"], s.mark.hashKey[:])) {
		r.Report.damage("its key is another than %s says", markerPath(r.path))
		return false
	}
	return true
}

// rehearse opens a copy of a store that looks whole, as the daemon would: only what that takes is whole.
func (r *Repair) rehearse(ctx context.Context, o RepairOptions) error {
	out, err := os.OpenFile(r.saved(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(r.lock, 0, math.MaxInt64))
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	err = r.try(ctx, o)
	r.Report.Notes = nil // what the daemon sets aside is its own to tell
	return errors.Join(err, os.RemoveAll(r.workDir), os.Mkdir(r.workDir, 0o700))
}

// try opens what was saved as the daemon will, so that a repair never leaves what can't be opened.
func (r *Repair) try(ctx context.Context, o RepairOptions) error {
	s, err := Open(r.saved(), Options{AllowNetworkFS: true, DeepCheck: o.DeepCheck, Keep: math.MaxInt64, tick: time.Hour, Notify: func(n event.Notice) {
		if a, ok := n.(event.SetAside); ok && len(r.Report.Notes) < maxDamage {
			r.Report.Notes = append(r.Report.Notes, fmt.Sprintf("%s was set aside: %s", a.What, a.Why))
		}
	}})
	if err != nil {
		return fmt.Errorf("opening what was saved: %w", err)
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("closing what was saved: %w", err)
	}
	report, err := o.DeepCheck(ctx, r.saved())
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return fmt.Errorf("checking what was saved: %w", err)
	}
	return ownLike(r.saved(), filepath.Dir(r.path))
}

// Apply puts what was saved in the store's place. The damaged file keeps its content under another name, which the report then
// names. There is a file in place at every moment; an error leaves the damaged one there, unless it says otherwise.
func (r *Repair) Apply() error {
	if r.Report.Whole {
		return r.Discard()
	}
	aside := ""
	if r.lock != nil && !mutant("keep-nothing") {
		var err error
		if aside, err = r.keep(); err != nil {
			return errors.Join(fmt.Errorf("keeping the damaged store under another name: %w; nothing was changed", err), r.Discard())
		}
	}
	// The mark first: with the old file still in place it only makes another repair necessary. It syncs the directory.
	err := replaceFile(markerPath(r.path), []byte(r.mark.text()))
	if err == nil {
		err = os.Rename(r.saved(), r.path)
	}
	if err != nil {
		if aside != "" {
			err = errors.Join(err, os.Remove(aside))
		}
		return errors.Join(fmt.Errorf("putting the repaired store in place: %w; the damaged one stands there still", err), r.Discard())
	}
	r.Report.Aside = aside
	if err := syncDir(filepath.Dir(r.path)); err != nil {
		return errors.Join(fmt.Errorf("the repaired store is in place, but a power cut may bring the damaged one back: %w; check the disk and repair it again", err), r.Discard())
	}
	return r.Discard()
}

// keep gives the damaged file a second name, or, where files have only one, a copy. Nobody else is at it: the file is locked.
func (r *Repair) keep() (aside string, err error) {
	first := fmt.Sprintf("%s.damaged-%s", r.path, time.Now().UTC().Format("20060102T150405Z"))
	aside = first
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		aside = fmt.Sprintf("%s-%d", first, n)
	}
	if os.Link(r.path, aside) == nil {
		return aside, nil
	}
	return aside, placeFile(aside, filepath.Base(r.path)+".new-", func(f *os.File) error {
		// Without the call that copies within the kernel, which not every file system has whole.
		_, err := io.Copy(struct{ io.Writer }{f}, io.NewSectionReader(r.lock, 0, math.MaxInt64))
		return errors.Join(err, ownLike(f.Name(), r.path))
	}, nil)
}

// Discard lets go of a repair that isn't made, and of the lock.
func (r *Repair) Discard() error {
	err := os.RemoveAll(r.workDir)
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
		r.lock = nil
	}
	return err
}

// Text is the report in sentences.
func (r *RepairReport) Text() (lines []string) {
	if r.Whole && r.Unreadable > 0 {
		return []string{fmt.Sprintf("The store %s is whole, except that %d of its records can't be read: the daemon sets each aside when it meets it, and goes on, "+
			"so there is nothing to repair.", r.Path, r.Unreadable)}
	}
	if r.Whole {
		return []string{fmt.Sprintf("The store %s is whole: there is nothing to repair.", r.Path)}
	}
	for _, d := range r.Damage {
		lines = append(lines, "Damaged: "+d)
	}
	for _, what := range slices.Sorted(maps.Keys(r.Kept)) {
		line := fmt.Sprintf("Kept: %d %s", r.Kept[what], what)
		if n := r.Back[what]; n > 0 {
			line += fmt.Sprintf(", %d of them from pages that may be old: they may come again", n)
		}
		lines = append(lines, line)
	}
	for _, l := range r.Lost {
		lines = append(lines, "Lost: "+l)
	}
	for _, n := range r.Notes {
		lines = append(lines, "Note: "+n)
	}
	if r.Aside != "" {
		lines = append(lines, fmt.Sprintf("The damaged file is kept as %s.", r.Aside))
	}
	return lines
}
