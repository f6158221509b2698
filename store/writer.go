package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"tidings/event"
)

const (
	maxGroup   = 256         // requests in one transaction
	maxGroupMB = 4 << 20     // bytes of events after which no further request joins
	maxStrikes = 3           // transactions in a row with an unknown outcome, then the store fails for good
	tidyEvery  = time.Second // how often the writer looks whether something has expired
)

// request asks the writer for something: to make prepare part of its next transaction, or to run between with no transaction under way.
// prepare checks and fills the batch; an error must leave the batch as it was.
type request struct {
	prepare func(*batch) error
	between func() error
	size    int // about how many bytes it writes
	err     error
	done    chan error
	left    <-chan struct{} // closed: nobody waits for the answer any more; nil: the outcome is worth the wait
}

// do hands prepare to the writer and waits for the answer. ctx only bounds the handing over: once the writer has a request, the
// outcome is worth the wait.
func (s *Store) do(ctx context.Context, prepare func(*batch) error) error {
	return s.send(ctx, &request{prepare: prepare})
}

func (s *Store) send(ctx context.Context, r *request) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r.done = make(chan error, 1)
	select {
	case s.requests <- r:
	case <-s.stopped:
		return s.gone()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.done:
		return err
	case <-r.left:
		return context.Cause(ctx)
	case <-s.stopped:
		select { // answered by the writer's last act
		case err := <-r.done:
			return err
		default:
			return s.gone()
		}
	}
}

// run is the writer: the only goroutine that writes to the file and that changes what the file says.
func (s *Store) run() {
	defer close(s.stopped)
	tick := time.NewTicker(s.opt.tick)
	defer tick.Stop()
	for {
		select {
		case r := <-s.requests:
			s.serve(r)
		case <-tick.C:
			s.tidy()
		case <-s.stop:
			for {
				select {
				case r := <-s.requests:
					s.serve(r)
				default:
					return
				}
			}
		}
	}
}

// serve makes one transaction of r and of what else waits, and answers all.
func (s *Store) serve(r *request) {
	group, size := []*request{r}, r.size
	runtime.Gosched() // whoever is about to ask on this processor asks now, and shares the sync
	for len(group) < maxGroup && size < maxGroupMB {
		select {
		case next := <-s.requests:
			group = append(group, next)
			size += next.size
			continue
		default:
		}
		break
	}
	s.room.measure(s)
	if s.room.full != "" {
		s.makeRoom()
	}
	err := s.write(group)
	for _, r := range group {
		if r.between != nil && err == nil {
			r.err = r.between()
		}
		if r.err == nil {
			r.err = err
		}
		r.done <- r.err
	}
	if s.room.full == "" {
		s.keepUp()
	}
}

// write makes one transaction of the group, or none when there is nothing to write. Each request's own refusal is in its err;
// the error returned concerns all others. Memory changes only after the transaction is durable.
func (s *Store) write(group []*request) error {
	if s.db == nil {
		return s.gone()
	}
	b := s.newBatch()
	for _, r := range group {
		if r.prepare != nil {
			r.err = r.prepare(b)
		}
	}
	s.mu.Lock()
	b.finish()
	s.mu.Unlock()
	if mutants {
		s.writeWrongly(group, b)
	}
	if len(b.ops) > 0 {
		began := time.Now()
		if err := s.exec(b.ops); err != nil {
			return s.startOver(err)
		}
		b.tell = append(b.tell, event.Written{At: b.now, Took: time.Since(began)})
		s.room.strikes = 0
	}
	s.mu.Lock()
	b.apply()
	s.mu.Unlock()
	for _, n := range b.tell {
		s.opt.Notify(n)
	}
	s.mu.Lock()
	for name := range b.wake {
		s.signal(name)
	}
	s.mu.Unlock()
	return nil
}

// startOver follows a transaction that failed: it may be durable or not, so everything in memory is dropped, the file is opened
// again and read again. In-flight deliveries are released by that. A full disk is no strike.
func (s *Store) startOver(cause error) error {
	full := diskIsFull(cause)
	if !full {
		s.room.strikes++
	}
	err := fmt.Errorf("writing to the store %s: %w", s.path, cause)
	fatal := s.room.strikes >= maxStrikes
	if fatal {
		err = fmt.Errorf("%w; that was the third time in a row: check the disk and start again", err)
	} else if again, reopenErr := s.reopen(); reopenErr != nil {
		fatal, err = true, fmt.Errorf("%w; then reading it again: %w", err, reopenErr)
	} else {
		s.repairs = again
	}
	if fatal {
		s.fail(err)
	}
	s.opt.Notify(event.StoreTrouble{At: s.clock.now(), Err: err})
	s.mu.Lock()
	for name := range s.desks {
		s.signal(name)
	}
	s.mu.Unlock()
	if full {
		return fmt.Errorf("%w: %w: %w", event.ErrUnknownOutcome, event.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", event.ErrUnknownOutcome, err)
}

var errReopening = errors.New("the store reopens its file after a failed write: try again")

// reopen closes the file, then opens and loads it. No reader is in it meanwhile.
func (s *Store) reopen() ([]*request, error) {
	defer s.stopCopy(errReopening)()
	s.file.Lock()
	defer s.file.Unlock()
	closeErr := s.db.Close()
	s.db = nil
	if closeErr != nil {
		return nil, closeErr
	}
	db, err := openFile(s.path)
	if err != nil {
		return nil, err
	}
	st, repairs, err := s.load(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.db = db
	st.schedule(s.clock.now())
	if mutants && mutant("keep-memory") {
		st = s.st
	}
	s.mu.Lock()
	s.st = st
	s.mu.Unlock()
	return repairs, nil
}

// fail ends the store: everything answers err from now on.
func (s *Store) fail(err error) {
	s.mu.Lock()
	s.dead = err
	s.mu.Unlock()
	s.stopCopy(err)
	s.file.Lock()
	if s.db != nil {
		_ = s.db.Close()
		s.db = nil
	}
	s.file.Unlock()
	s.failed <- err
}

func diskIsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
