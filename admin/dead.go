package admin

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/event"
)

// DeadLetter is a delivery that was given up on, as a listing shows it.
type DeadLetter struct {
	Sink     string      `json:"sink"`
	Source   string      `json:"source"`
	ID       string      `json:"id"`
	Type     string      `json:"type"`
	Time     *time.Time  `json:"time"` // when it happened by the vendor's word; null where the API does not say
	DeadAt   time.Time   `json:"dead_at"`
	Attempts int         `json:"attempts"`
	Reason   string      `json:"reason"` // of the last attempt
	Detail   *DeadDetail `json:"detail,omitempty"`
}

// DeadDetail is what only a look at one dead letter shows.
type DeadDetail struct {
	ReceivedAt  *time.Time `json:"received_at"`
	AttemptedAt *time.Time `json:"attempted_at"` // the last attempt
	Took        float64    `json:"took"`         // of the last attempt, seconds
	Answer      string     `json:"answer"`       // to the last attempt, at most 16 KiB
	Body        []byte     `json:"body"`         // as listed, byte for byte; base64 in JSON
}

// DeadPage is an answer of GET /v1/dead. Its query: sink, id (repeated), detail=true, after.
type DeadPage struct {
	Letters []DeadLetter `json:"letters"`
	Next    string       `json:"next"` // the `after` that asks for the next page; empty at the end
}

// DeadSelection names the dead letters of a change: by ids, by a sink, or all; a sink beside ids narrows them.
type DeadSelection struct {
	IDs    []string `json:"ids,omitempty"`
	Sink   string   `json:"sink,omitempty"`
	All    bool     `json:"all,omitempty"`
	DryRun bool     `json:"dry_run,omitempty"` // count, change nothing
}

// DeadChange says how many dead letters a change met, at which sinks.
type DeadChange struct {
	Count int            `json:"count"`
	Sinks map[string]int `json:"sinks"`
}

const (
	deadRead   = 32      // dead letters read in one transaction, bodies included
	deadPage   = 256     // on one page
	deadBytes  = 4 << 20 // a page ends after the body that passes this
	deadChange = 1000    // changed in one transaction
)

// eachDead calls yield for the dead letters of one sink or of all, sink by sink in the order of names and within a sink in the
// order of Seq, until it returns false. It starts after the place (afterSink, afterSeq).
func (s *Server) eachDead(sink string, ids []string, afterSink string, afterSeq uint64, yield func(event.DeadLetter) bool) error {
	sinks, err := s.Store.Sinks()
	if err != nil {
		return err
	}
	var names []string
	for _, st := range sinks {
		if sink == "" || st.Name == sink {
			names = append(names, st.Name)
		}
	}
	if sink != "" && len(names) == 0 {
		return errorf(NotFound, "there is no sink %q", sink)
	}
	slices.Sort(names)
	for _, name := range names {
		if name < afterSink {
			continue
		}
		var after uint64
		if name == afterSink {
			after = afterSeq
		}
		for {
			letters, err := s.Store.Dead(event.DeadQuery{Sink: name, IDs: ids, After: after, Limit: deadRead})
			if err != nil {
				return err
			}
			for _, letter := range letters {
				if !yield(letter) {
					return nil
				}
				after = letter.Seq
			}
			if len(letters) < deadRead {
				break
			}
		}
	}
	return nil
}

func (s *Server) listDead(r *http.Request) (any, error) {
	q := r.URL.Query()
	detail := q.Get("detail") == "true"
	var afterSink string
	var afterSeq uint64
	if after := q.Get("after"); after != "" {
		sink, seq, _ := strings.Cut(after, "/")
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			return nil, errorf(Invalid, "after=%s is not the `next` of a page", after)
		}
		afterSink, afterSeq = sink, n
	}
	page := DeadPage{Letters: []DeadLetter{}}
	var bytes int
	var last event.DeadLetter
	err := s.eachDead(q.Get("sink"), q["id"], afterSink, afterSeq, func(d event.DeadLetter) bool {
		if len(page.Letters) == deadPage || bytes >= deadBytes {
			page.Next = last.Sink + "/" + strconv.FormatUint(last.Seq, 10)
			return false
		}
		last = d
		letter := shown(d)
		if detail {
			letter.Detail = &DeadDetail{
				ReceivedAt: instant(d.Event.Received), AttemptedAt: instant(d.Last.At),
				Took: d.Last.Took.Seconds(), Answer: d.Last.Answer, Body: d.Event.Data,
			}
			bytes += len(d.Event.Data)
		}
		page.Letters = append(page.Letters, letter)
		return true
	})
	return page, err
}

func shown(d event.DeadLetter) DeadLetter {
	letter := DeadLetter{
		Sink: d.Sink, Source: d.Event.Source, ID: d.Event.ID, Type: d.Event.Type,
		DeadAt: d.DeadAt.UTC().Truncate(time.Millisecond), Attempts: d.Attempts, Reason: d.Reason,
	}
	if !d.Event.Time.IsZero() {
		letter.Time = new(d.Event.Time.UTC())
	}
	return letter
}

// applyDead is Store.RetryDead or Store.DropDead.
type applyDead func(ctx context.Context, sink string, seqs []uint64) (int, error)

// readSelection reads what a change is about, and lifts the time limit from its answer: a change takes the time that it takes.
func readSelection(w http.ResponseWriter, r *http.Request) (DeadSelection, error) {
	var sel DeadSelection
	if err := read(w, r, &sel, "a selection of dead letters"); err != nil {
		return sel, err
	}
	if sel.All && (sel.Sink != "" || len(sel.IDs) > 0) || !sel.All && sel.Sink == "" && len(sel.IDs) == 0 {
		return sel, errorf(Invalid, "name dead letters by their ids, by a sink, or all of them")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // in memory there is none
	return sel, nil
}

// changesDead answers a change of dead letters; done is what became of them.
func (s *Server) changesDead(done string, apply applyDead) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		sel, err := readSelection(w, r)
		if err != nil {
			return nil, err
		}
		return s.changeDead(r.Context(), sel, done, apply)
	}
}

// changeDead makes one change, in the store's transactions of deadChange letters. An id that no dead letter has fails the
// whole change before anything is done.
func (s *Server) changeDead(ctx context.Context, sel DeadSelection, done string, apply applyDead) (DeadChange, error) {
	found := map[string][]uint64{}
	missing := map[string]bool{}
	for _, id := range sel.IDs {
		missing[id] = true
	}
	err := s.eachDead(sel.Sink, sel.IDs, "", 0, func(d event.DeadLetter) bool {
		found[d.Sink] = append(found[d.Sink], d.Seq)
		delete(missing, d.Event.ID)
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return DeadChange{}, err
	}
	for _, id := range sel.IDs {
		if missing[id] {
			return DeadChange{}, noDeadLetter(id, sel.Sink)
		}
	}
	change := DeadChange{Sinks: map[string]int{}}
	for _, sink := range slices.Sorted(maps.Keys(found)) {
		if sel.DryRun {
			change.add(sink, len(found[sink]))
			continue
		}
		for chunk := range slices.Chunk(found[sink], deadChange) {
			n, err := apply(ctx, sink, chunk)
			change.add(sink, n)
			if err != nil {
				s.log().Error("a change of dead letters failed", "sink", sink, "done", change.Count, "error", oneLine(err))
				return DeadChange{}, errorf(Failed, "%d dead letters were %s, then it failed at sink %s: %s",
					change.Count, done, sink, oneLine(err))
			}
		}
		s.log().Info("dead letters were "+done+" on a person's word", "sink", sink, "count", change.Sinks[sink])
	}
	return change, nil
}

func (c *DeadChange) add(sink string, n int) {
	c.Count += n
	c.Sinks[sink] += n
}

func noDeadLetter(id, sink string) *Error {
	if sink != "" {
		return errorf(NotFound, "no dead letter of sink %s has the id %q", sink, id)
	}
	return errorf(NotFound, "no dead letter has the id %q", id)
}
