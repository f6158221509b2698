package store

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"tidings/event"
)

// A poller, three workers and a reader at once: every event is delivered to every sink once.
func TestManyAtOnce(t *testing.T) {
	sinks := []string{"a", "b", "c"}
	b := fresh(t, Options{Keep: 0, tick: 5 * time.Millisecond}, sinks...)
	const pages, size = 40, 25
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var workers, reader sync.WaitGroup
	got := make([]map[string]int, len(sinks))
	for i, sink := range sinks {
		got[i] = map[string]int{}
		wake := b.Wake(sink)
		workers.Go(func() {
			for n := 0; n < pages*size; {
				due, err := b.Next(sink, 7, 3)
				if err != nil {
					t.Error(err)
					return
				}
				var settled []event.Settlement
				for j, d := range due.Deliveries {
					v := event.Settlement{Sink: sink, Seq: d.Seq, Outcome: event.Delivered}
					if j == 3 && d.Attempts == 0 {
						v.Outcome = event.Retry
					} else {
						got[i][d.Event.ID]++
						n++
					}
					settled = append(settled, v)
				}
				if len(settled) == 0 {
					select {
					case <-wake:
					case <-time.After(10 * time.Millisecond):
					case <-ctx.Done():
						t.Errorf("sink %s waits with %d of %d", sink, n, pages*size)
						return
					}
				} else if err := b.Settle(ctx, settled); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, err := range []error{second(b.Sinks()), second(b.Stats()), second(b.Sources()), second(b.Dead(event.DeadQuery{})), b.Check()} {
				if err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range pages {
		b.commit(fmt.Sprint(i), events(i*size, size)...)
	}
	workers.Wait()
	close(done)
	reader.Wait()
	for i, sink := range sinks {
		if len(got[i]) != pages*size {
			t.Errorf("sink %s got %d", sink, len(got[i]))
		}
		for id, n := range got[i] {
			if n != 1 {
				t.Errorf("sink %s got %s %d times", sink, id, n)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }
