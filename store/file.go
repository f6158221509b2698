package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The buckets. Keys of sequences are big-endian, so that their order is the order of taking in.
const (
	bucketMeta  = "meta"  // schema, uuid, hashkey and their sum, created, clock
	bucketSrc   = "src"   // source name -> position, identity, gaps
	bucketLog   = "log"   // seq -> event and who wants it; grows at its right edge
	bucketIDs   = "ids"   // chunk number -> at most chunkSize fingerprints and when they were taken in
	bucketRuns  = "runs"  // number of a sealed run -> what it holds, and which chunks of ids it came from
	bucketRun   = "run"   // number of a run -> a bucket: first fingerprint -> a sorted chunk of at most chunkSize
	bucketTries = "tries" // block of seqs, sink index -> when each was delivered to that sink, packed
	bucketFails = "fails" // seq, sink index -> the last failures of a delivery that is no longer owed
	bucketAgain = "again" // number of a replay -> what it covers and how far it has come
	bucketSink  = "sink"  // sink name -> what it is owed and how it does
	bucketAside = "aside" // number -> bytes that can't be an event, or a record that can't be read
	prefixRun   = "run/"  // + number of a run, 8 bytes: that run's bucket within the bucket run
	prefixX     = "x/"    // + sink name: seq -> a delivery that failed, and is owed
	prefixDead  = "dead/" // + sink name: seq -> a delivery that was given up on, with its event
)

// schema is the version of the layout. A store of a newer one is refused, one of an older one is migrated at opening.
const schema = 2

// buckets are those that every store has, in the layout of today.
func buckets() []string {
	return []string{bucketMeta, bucketSrc, bucketLog, bucketIDs, bucketSink, bucketAside, bucketRuns, bucketRun, bucketTries, bucketFails, bucketAgain}
}

const lockWait = 2 * time.Second

// boltOptions are as measured: a freelist that is not stored (a large one would be written whole at every commit), and a map
// large enough that growing never has to wait for readers. Syncing is never off.
func boltOptions() *bolt.Options {
	o := &bolt.Options{Timeout: lockWait, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, InitialMmapSize: 256 << 20}
	if strconv.IntSize == 64 {
		o.InitialMmapSize = 4 << 30
	}
	o.NoSync = mutants && mutant("no-sync")
	return o
}

// openFile opens an existing file and checks that it is a store of a version that this program reads.
func openFile(path string) (*bolt.DB, error) { return openFileAs(path, path) }

// openFileAs opens the file at real, which is or will be in place at path.
func openFileAs(real, path string) (db *bolt.DB, err error) {
	defer func() {
		// What was examined should leave bbolt no reason to panic. The handle is lost, so the process should end.
		if p := recover(); p != nil {
			db, err = nil, damaged(path, fmt.Errorf("%v", p))
		}
	}()
	o := boltOptions()
	o.OpenFile = func(string, int, os.FileMode) (*os.File, error) {
		f, err := grab(real, path)
		if err != nil {
			return nil, err
		}
		if _, err := examine(f); err != nil && !mutant("blind-preflight") {
			return nil, errors.Join(damaged(path, err), f.Close())
		}
		return f, nil
	}
	db, err = bolt.Open(path, 0o600, o)
	_, isDamaged := errors.AsType[*DamagedError](err)
	_, inUse := errors.AsType[*InUseError](err)
	switch {
	case isDamaged, inUse:
		return nil, err
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, damaged(path, err)
	case errors.Is(err, os.ErrPermission):
		return nil, notAllowed(err)
	case err != nil:
		return nil, fmt.Errorf("can't open the store %s: %w", path, err)
	}
	old := false
	err = db.View(func(tx *bolt.Tx) error {
		v, err := checkSchema(tx)
		old = v < schema
		return err
	})
	if _, had := hadStore(path); had && errors.Is(err, errStranger) {
		return nil, errors.Join(damaged(path, errors.New("it lacks what every store has")), db.Close())
	}
	if err == nil && old {
		err = db.Update(migrate)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("can't open the store %s: %w", path, err), db.Close())
	}
	return db, nil
}

// grab opens the file at real and locks it against every other process. bbolt then locks the same handle once more, which
// changes nothing. A file that is no longer the one in place at path, since a compaction replaced it meanwhile, is not taken.
func grab(real, path string) (*os.File, error) {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(50 * time.Millisecond) {
		fd, err := syscall.Open(real, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		f := os.NewFile(uintptr(fd), path) // errors name the place that it has or will have
		err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && (real != path || inPlace(f, path)) {
			return f, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("locking it: %w", err)
		}
		if time.Now().After(deadline) {
			return nil, &InUseError{Path: path, PID: readPID(path)}
		}
	}
}

func inPlace(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

// DamagedError: the store can't be opened as it is. Nothing was changed.
type DamagedError struct {
	Path string
	Why  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the store %s is damaged (%v); nothing was changed: restore a backup, or run \"tidings store repair\", "+
		"which keeps the file, saves what can be read and says what is lost", e.Path, e.Why)
}

func (e *DamagedError) Unwrap() error { return e.Why }

func damaged(path string, why error) error { return &DamagedError{Path: path, Why: why} }

var errStranger = errors.New("it is a database of another program")

func newerLayout(v uint64) error {
	return fmt.Errorf("%w (layout %d, this program reads up to %d); use that version", errVersion, v, schema)
}

// checkSchema returns the version of the layout, at most today's.
func checkSchema(tx *bolt.Tx) (uint64, error) {
	for _, name := range []string{bucketMeta, bucketSrc, bucketLog, bucketIDs, bucketSink, bucketAside} { // of every version
		if tx.Bucket([]byte(name)) == nil {
			return 0, errStranger
		}
	}
	stored := tx.Bucket([]byte(bucketMeta)).Get([]byte("schema"))
	if len(stored) != 8 {
		return 0, errStranger
	}
	v := binary.BigEndian.Uint64(stored)
	if v > schema {
		return v, newerLayout(v)
	}
	if v == schema {
		for _, name := range buckets() {
			if tx.Bucket([]byte(name)) == nil {
				return v, fmt.Errorf("its bucket %s is missing; keep the file and restore a backup", name)
			}
		}
	}
	return v, nil
}

// migrate makes today's layout of an older one in one transaction. From 1 to 2 only buckets are added: ids of version 1 are ids
// that wait for being sealed.
func migrate(tx *bolt.Tx) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	meta := tx.Bucket([]byte(bucketMeta))
	return sign(meta, seqKey(schema), meta.Get([]byte("uuid")), meta.Get([]byte("hashkey")))
}

// sign writes what makes the store itself, with its checksum.
func sign(meta *bolt.Bucket, schema, uuid, hashKey []byte) error {
	uuid, hashKey = bytes.Clone(uuid), bytes.Clone(hashKey)
	return errors.Join(
		meta.Put([]byte("schema"), schema),
		meta.Put([]byte("uuid"), uuid),
		meta.Put([]byte("hashkey"), hashKey),
		meta.Put([]byte(metaSum), metaSumRecord(schema, uuid, hashKey)),
	)
}

// create makes an empty store under a temporary name and puts it in place whole: a power cut while bbolt writes its first
// pages would leave a file that can never be opened.
func create(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil { // bbolt opens it again; CreateTemp gave it mode 0600
		return err
	}
	db, err := bolt.Open(temp, 0o600, boltOptions())
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(layout), db.Sync(), db.Close(), ownLike(temp, dir)); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces a store that another process has just created. Some file systems have no links.
	if err := os.Link(temp, path); err != nil && !errors.Is(err, os.ErrExist) {
		if err := os.Rename(temp, path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func layout(tx *bolt.Tx) error {
	for _, name := range buckets() {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	random := make([]byte, 32)
	rand.Read(random) // never fails
	meta := tx.Bucket([]byte(bucketMeta))
	return errors.Join(
		meta.Put([]byte("created"), seqKey(uint64(time.Now().Unix()))),
		sign(meta, seqKey(schema), random[:16], random[16:]),
	)
}

// The pid beside the store only makes the message to a second process better; bbolt's lock on the file decides. It is put in
// place by rename, so that one left by another user never stands in the way.
func pidPath(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".lock" }

func writePID(path string) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(pidPath(path))+".new-")
	if err != nil {
		return
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	if errors.Join(err, f.Chmod(0o644), f.Close(), os.Rename(f.Name(), pidPath(path))) != nil {
		_ = os.Remove(f.Name())
	}
}

func removePID(path string) { _ = os.Remove(pidPath(path)) }

func readPID(path string) int {
	text, _ := os.ReadFile(pidPath(path))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func seqKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
