package dispatch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// queue is a Queue in memory that keeps the contract to the letter and fails the test when the worker does not.
type queue struct {
	t    *testing.T
	wake chan struct{}

	mu        sync.Mutex
	owed      map[uint64]*owed
	last      uint64
	state     event.SinkState
	still     time.Duration // how long the sink stood still before the present state
	settled   []event.Settlement
	dead      []uint64
	done      []uint64
	broken    error            // what Settle, SetState and Next answer
	meanwhile *event.SinkState // is stored a moment before the next SetState, and the signal is late
	blind     int              // Next finds no fresh ones yet that often, though there are more
	stuck     chan struct{}    // Next waits for it
	unknown   int              // Settle fails that often, having settled nothing
	lag       time.Duration    // between a settlement and its answer
	released  bool             // a failed Settle has released what was in flight
}

type owed struct {
	d         event.Delivery
	failedAt  time.Time
	failStill time.Duration
	attempted time.Time
	due       time.Time
	inFlight  bool
}

func newQueue(t *testing.T) *queue {
	return &queue{t: t, wake: make(chan struct{}, 1), owed: map[uint64]*owed{}}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// add takes in n events and returns the sequence number of the first.
func (q *queue) add(n int) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.last + 1
	for range n {
		q.last++
		q.owed[q.last] = &owed{d: event.Delivery{Seq: q.last, Sink: "s", Event: event.Event{Source: "src", ID: "e", Received: time.Now()}}}
	}
	q.signal()
	return first
}

// addFailing takes in n events that failed before and are due.
func (q *queue) addFailing(n int) {
	first := q.add(n)
	q.mu.Lock()
	defer q.mu.Unlock()
	for seq := first; seq < first+uint64(n); seq++ {
		o := q.owed[seq]
		o.d.Attempts, o.failedAt, o.failStill, o.due, o.attempted = 1, time.Now(), q.stood(), time.Now(), time.Now()
	}
}

func (q *queue) stood() time.Duration {
	if q.state.Health == event.Up {
		return q.still
	}
	return q.still + time.Since(q.state.Since)
}

func (q *queue) hand(o *owed) event.Delivery {
	if o.inFlight {
		q.t.Errorf("event %d handed out twice", o.d.Seq)
	}
	o.inFlight = true
	d := o.d
	if d.Attempts > 0 {
		d.FailingFor = time.Since(o.failedAt) - (q.stood() - o.failStill)
	}
	return d
}

func (q *queue) sorted() []*owed {
	var all []*owed
	for _, o := range q.owed {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *owed) int { return int(a.d.Seq) - int(b.d.Seq) })
	return all
}

func (q *queue) Next(_ string, fresh, retries int) (event.Due, error) {
	if stuck := get(q, func() chan struct{} { return q.stuck }); stuck != nil {
		<-stuck
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken != nil {
		return event.Due{}, q.broken
	}
	var due event.Due
	var again []event.Delivery
	for _, o := range q.sorted() {
		if o.d.Attempts > 0 {
			due.Failing++
		}
		switch {
		case o.inFlight:
		case o.d.Attempts == 0 && len(due.Deliveries) < fresh && q.blind == 0:
			due.Deliveries = append(due.Deliveries, q.hand(o))
		case o.d.Attempts == 0:
			due.More = true
		case !o.due.After(time.Now()) && len(again) < retries:
			again = append(again, q.hand(o))
		case due.Next.IsZero() || o.due.Before(due.Next):
			due.Next = o.due
		}
	}
	if fresh > 0 && q.blind > 0 {
		q.blind--
	}
	due.Deliveries = append(due.Deliveries, again...)
	return due, nil
}

func (q *queue) Probe(string) (event.Delivery, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var oldest *owed
	for _, o := range q.sorted() {
		switch {
		case o.inFlight:
		case o.d.Attempts == 0:
			return q.hand(o), true, q.broken
		case oldest == nil || o.attempted.Before(oldest.attempted):
			oldest = o
		}
	}
	if oldest == nil || q.broken != nil {
		return event.Delivery{}, false, q.broken
	}
	return q.hand(oldest), true, nil
}

func (q *queue) Settle(ctx context.Context, settled []event.Settlement) error {
	defer time.Sleep(q.lag)
	if ctx.Err() != nil {
		q.t.Error("Settle was called with a context that has ended")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.broken
	if q.unknown > 0 {
		q.unknown--
		q.released = true
		err = event.ErrUnknownOutcome
	}
	for _, s := range settled {
		if o := q.owed[s.Seq]; o == nil || !o.inFlight {
			if !q.released {
				q.t.Errorf("event %d settled and not in flight", s.Seq)
			}
			err = errors.New("it is not in flight")
		}
	}
	if err != nil {
		for _, o := range q.owed {
			o.inFlight = false
		}
		return err
	}
	for _, s := range settled {
		o := q.owed[s.Seq]
		q.settled = append(q.settled, s)
		switch s.Outcome {
		case event.Delivered:
			q.done = append(q.done, s.Seq)
			delete(q.owed, s.Seq)
		case event.Dead:
			q.dead = append(q.dead, s.Seq)
			delete(q.owed, s.Seq)
		default:
			if o.d.Attempts == 0 {
				o.failedAt, o.failStill = time.Now(), q.stood()
			}
			o.d.Attempts++
			o.attempted, o.due, o.inFlight = time.Now(), time.Now().Add(s.Wait), false
		}
	}
	return nil
}

func (q *queue) Release(_ string, seqs ...uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, seq := range seqs {
		if o := q.owed[seq]; o != nil && o.inFlight {
			o.inFlight, o.due = false, time.Now()
		}
	}
}

func (q *queue) State(string) (event.SinkState, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state, q.broken
}

func (q *queue) SetState(_ context.Context, _ string, was event.Health, state event.SinkState) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.meanwhile != nil {
		q.state, q.meanwhile = *q.meanwhile, nil
	}
	if q.broken == nil && q.state.Health != was {
		return event.ErrStale
	}
	if q.broken == nil {
		q.still = q.stood()
		if q.state.Health != event.Up && state.Health != event.Up {
			q.still -= time.Since(state.Since) // stood counts it again from Since on
		}
		q.state = state
		q.signal()
	}
	return q.broken
}

func (q *queue) Wake(string) <-chan struct{} { return q.wake }

// order stores a state as a person does.
func (q *queue) order(t *testing.T, state event.SinkState) {
	t.Helper()
	if err := q.SetState(t.Context(), "s", q.now().Health, state); err != nil {
		t.Fatal(err)
	}
}

// forget loses what is in flight, as a store does that is opened and read again.
func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.released = true
	for _, o := range q.owed {
		o.inFlight = false
	}
	q.signal()
}

// fatten gives all that is owed so much data.
func (q *queue) fatten(data []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range q.owed {
		o.d.Event.Data = data
	}
}

// handedOut counts what is in flight.
func (q *queue) handedOut() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range q.owed {
		if o.inFlight && len(o.d.Event.Data) > 0 {
			n++
		}
	}
	return n
}

func (q *queue) now() event.SinkState {
	return get(q, func() event.SinkState { return q.state })
}

// get reads something of the queue under its lock.
func get[T any](q *queue, read func() T) T {
	q.mu.Lock()
	defer q.mu.Unlock()
	return read()
}

// sinkFunc attempts one delivery; batches are given to it singly.
type sinkFunc func(ctx context.Context, d event.Delivery) Result

func (f sinkFunc) Deliver(ctx context.Context, batch []event.Delivery) []Result {
	var results []Result
	for _, d := range batch {
		results = append(results, f(ctx, d))
	}
	return results
}

func done(context.Context, event.Delivery) Result { return Result{Verdict: Done} }

func fails(context.Context, event.Delivery) Result {
	return Result{Verdict: Retry, Reason: "answered 503"}
}

func hangs(ctx context.Context, _ event.Delivery) Result {
	<-ctx.Done()
	return Result{Verdict: Retry, Reason: "no answer"}
}

var usual = Policy{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.2, GiveUpAfter: 72 * time.Hour}

// newWorker has usual settings and collects its notices.
func newWorker(q *queue, deliver sinkFunc) (*Worker, *[]event.Notice) {
	var notices []event.Notice
	return &Worker{
		Name: "s", Sink: deliver, Queue: q, Policy: usual, Timeout: 15 * time.Second, Concurrency: 8, Batch: 1,
		Notify: func(n event.Notice) { notices = append(notices, n) },
	}, &notices
}

// running runs w in the bubble until stop is called, which waits for its end.
func running(t *testing.T, w *Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	synctest.Wait()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}
