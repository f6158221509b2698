// Package store keeps everything that must survive: where each source stands, the events taken in, what each sink is owed, the
// dead letters, and the ids that were seen. It is the only room that knows bbolt.
//
// It owns one file and one writer goroutine. Whoever wants something written hands the writer a request; the writer makes one
// transaction of all that wait (group commit), syncs it, and only then changes what the store holds in memory and answers.
// "In flight" exists in memory only, so a crash needs no rescue: what was handed out and not settled is handed out again.
//
// What always holds (Check verifies what can be seen in a file):
//
//  1. A source's position was stored in or after the transaction that stored every event before it.
//  2. Each (sink, event) that a sink wanted at commit is in exactly one of: owed, delivered, dead. Owed is a count, not a scan;
//     a sink that is owed nothing stands at the head without a write.
//  3. What was reported as settled is never attempted again after a restart; what was not settled always is.
//  4. Each (source, event id) within the remembered time entered the log once.
//  5. No transaction is open while an API or a sink is being called: what is handed out is a copy.
//  6. A record that can't be read is set aside and told, never skipped in silence and never a restart loop.
//  7. A commit without an unseen event, with an unchanged position and no gap writes nothing, nor does an idle store.
//  8. While the wall clock stands before the newest stored time, or has jumped by more than an hour against the monotonic
//     clock, nothing expires, is collected by age or is given up until a server's Date agrees, or, in a store that no server has
//     ever told the time, until the clock has run on evenly for a day: then what it stamped before counts as made then (see
//     clock). No retry waits longer than its policy by the monotonic clock, restarts included.
//  9. A commit names the generation of the position that it started from; another one is refused.
//  10. After a transaction whose outcome is unknown the store drops all that it holds in memory, reopens the file, reads it
//     again and tells everyone; nothing of such a transaction is assumed.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// Options say how a store is opened.
type Options struct {
	Notify   func(event.Notice) // is told what happens, after it is durable; may be nil
	Create   bool               // create a missing file; without it a missing file is an error
	Remember time.Duration      // how long ids are remembered at least
	Keep     time.Duration      // how long delivered events are kept; a wish that gives way to the limits
	MaxSize  int64              // bytes in use above which nothing is taken in; 0: no limit
	MinFree  int64              // free bytes of the disk below which nothing is taken in; 0: no limit

	AllowNetworkFS bool      // take a file system on which the store may not be safe
	DeepCheck      DeepCheck // runs CheckFile in another process; nil runs it in this one

	commit func(*bolt.Tx) error         // tests break commits here
	free   func(string) (int64, error)  // tests fill the disk here
	caught func()                       // tests write here, each time a compaction's copy has followed what was written
	tick   time.Duration                // tests that want no tidying by itself make it long
	magic  func(string) (uint32, error) // tests name another file system here

	compactAt int64            // tests compact smaller files than are worth it
	wall      func() time.Time // tests set the wall clock here

	runSize, sealSlice int // tests seal small runs in small slices
}

// Store is an open store. All methods may be called at any time by anyone.
type Store struct {
	path     string
	opt      Options
	clock    *clock
	requests chan *request
	stop     chan struct{}
	stopped  chan struct{}
	closing  sync.Once
	failed   chan error

	// file guards the handle: readers share it for one short transaction, a reopening has it alone. Taken before mu, never
	// while mu is held.
	file sync.RWMutex
	db   *bolt.DB // nil once the store has failed or is closed

	// mu guards what follows, and all that st points to. It is held for moments, never over a transaction.
	mu       sync.Mutex
	st       *state // replaced as a whole after a reopening: a holder of the old one holds nothing
	topology event.Topology
	desks    map[string]*desk
	dead     error  // why the store has failed for good
	full     string // why nothing is taken in, and the limit that says so
	limit    string

	// The writer's own.
	room     room
	clockWhy string     // what was told last of the clock
	repairs  []*request // what the last reading found to repair
	side     sideCopy
	shrunk   time.Time // when a compaction was tried last

	copying sync.Mutex                              // held while someone copies the file as a whole: a backup, or a compaction
	copier  atomic.Pointer[context.CancelCauseFunc] // ends that
	replica atomic.Pointer[replica]                 // a compaction's copy, which is to follow what is written
	copies  sync.WaitGroup                          // compactions; only the writer begins one
	wanted  atomic.Bool                             // the file is about to be closed: none may begin

	sealAfter time.Time // no sealing before
}

// desk is where one sink's worker asks; it outlives reopenings.
type desk struct {
	turn sync.Mutex // one asker at a time
	wake chan struct{}
}

// InUseError: another process has the store open.
type InUseError struct {
	Path string
	PID  int // 0 when unknown
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("the store %s is in use by another process; stop that one or use another data_dir", e.Path)
	}
	return fmt.Sprintf("the store %s is in use by process %d; stop that one or use another data_dir", e.Path, e.PID)
}

// IdentityError: a source lists another account or API than the one its position belongs to.
type IdentityError struct{ Sources []string }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("%s: another account or API than the one whose position is stored under this name; "+
		"give the source a new name, or start it anew with --accept-reset", strings.Join(e.Sources, ", "))
}

var errClosed = errors.New("the store is closed")

// Open opens the store at path and starts its writer. A store in use is an *InUseError, one that never was wraps os.ErrNotExist,
// one that is gone is a *MissingError, a damaged one a *DamagedError, one on a network a *NetworkFSError; one of a newer version
// and what is no store are errors that say so. All of them are left as they are. One that is mostly free space is compacted.
func Open(path string, o Options) (*Store, error) {
	if o.Notify == nil {
		o.Notify = func(event.Notice) {}
	}
	if o.commit == nil {
		o.commit = (*bolt.Tx).Commit
	}
	if o.free == nil {
		o.free = diskFree
	}
	if o.runSize == 0 {
		o.runSize, o.sealSlice = runSize, sealSlice
	}
	if o.wall == nil {
		o.wall = time.Now
	}
	if o.tick == 0 {
		o.tick = tidyEvery
	}
	if o.DeepCheck == nil {
		o.DeepCheck = CheckFile
	}
	if o.magic == nil {
		o.magic = fsMagic
	}
	if o.compactAt == 0 {
		o.compactAt = compactAt
	}
	db, err := openFirst(path, o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, opt: o, db: db,
		requests: make(chan *request, 256), stop: make(chan struct{}), stopped: make(chan struct{}),
		failed: make(chan error, 1), desks: map[string]*desk{},
	}
	st, repairs, err := s.load(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.st = st
	s.clock = newClock(o.wall, st.newest, st.dated)
	st.schedule(s.clock.now())
	writePID(path)
	s.room.measure(s)
	if err := s.write(repairs); err != nil {
		removePID(path)
		return nil, errors.Join(err, s.db.Close())
	}
	s.side.remember(path)
	s.ripen()
	s.shrink(false)
	if err := s.gone(); s.db == nil {
		removePID(path)
		return nil, err
	}
	go s.run()
	return s, nil
}

// Close ends the writer, which first writes what it was handed, and closes the file.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.stop)
		<-s.stopped
		s.stopCopy(errClosed)
		s.copies.Wait()
		s.side.write(s, true)
		s.file.Lock()
		defer s.file.Unlock()
		if s.db != nil {
			err = s.db.Close()
			s.db = nil
		}
		removePID(s.path)
	})
	return err
}

// Failed is sent one error, a sentence, when the store has failed for good: three transactions in a row failed for another
// reason than a full disk, or the file can't be opened again. Nothing works from then on; the process should end.
func (s *Store) Failed() <-chan error { return s.failed }

// Ping passes through the writer and writes nothing: it answers when the writer does, or with an error when ctx ends before.
func (s *Store) Ping(ctx context.Context) error {
	return s.send(ctx, &request{prepare: func(*batch) error { return nil }, left: ctx.Done()})
}

// view runs fn in a reading transaction. fn must be short, and must copy what it keeps.
func (s *Store) view(fn func(*bolt.Tx) error) error {
	s.file.RLock()
	defer s.file.RUnlock()
	if s.db == nil {
		return s.gone()
	}
	return s.db.View(fn)
}

// gone says why there is no file any more.
func (s *Store) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return s.dead
	}
	return errClosed
}

// Wake is signalled when sink may have got something to do.
func (s *Store) Wake(sink string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.desk(sink).wake
}

// desk returns the sink's desk. s.mu is held.
func (s *Store) desk(sink string) *desk {
	d := s.desks[sink]
	if d == nil {
		d = &desk{wake: make(chan struct{}, 1)}
		s.desks[sink] = d
	}
	return d
}

// signal wakes who waits at the desk. s.mu is held.
func (s *Store) signal(sink string) {
	select {
	case s.desk(sink).wake <- struct{}{}:
	default:
	}
}
