package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// ExportBegin is what each export begins with, unless it is empty.
const ExportBegin = `{"kind":"`

// Exported is one line of an export. Kind says which: position, owed, dead or replay.
type Exported struct {
	Kind     string     `json:"kind"`
	Sink     string     `json:"sink,omitempty"`
	Replay   uint64     `json:"replay,omitempty"` // the number of a replay; owed: that it is owed for this one
	Source   string     `json:"source,omitempty"`
	Identity string     `json:"identity,omitempty"` // position: the account or API that it belongs to
	Position []byte     `json:"position,omitempty"` // base64
	Moved    *time.Time `json:"moved,omitempty"`

	ID       string          `json:"id,omitempty"`
	Type     string          `json:"type,omitempty"`
	Time     *time.Time      `json:"time,omitempty"`
	Received *time.Time      `json:"received_at,omitempty"`
	DeadAt   *time.Time      `json:"dead_at,omitempty"`
	Attempts int             `json:"attempts,omitempty"`
	Reason   string          `json:"reason,omitempty"` // dead: of the last attempt; owed: why it can't be exported
	Data     json.RawMessage `json:"data,omitempty"`   // the body, less white space between its tokens
	Raw      []byte          `json:"raw,omitempty"`    // instead, base64: a body that is no JSON

	// Of a replay, whose deliveries that are left follow it as owed.
	Started *time.Time `json:"started_at,omitempty"`
	Sources []string   `json:"sources,omitempty"`
	Types   []string   `json:"types,omitempty"`
	Total   uint64     `json:"total,omitempty"`
	Left    uint64     `json:"left,omitempty"`
}

// Export writes where each source stands, what each sink is owed, replays that are not done with what they have left, and every
// dead letter, as one JSON object a line. Nothing is written, and nothing may be handed out, as long as that takes: on a store at work, export a backup of it.
func (s *Store) Export(ctx context.Context, w io.Writer) (lines int, err error) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	put := func(e Exported) error {
		lines++
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return enc.Encode(e)
	}
	var names []string
	if err := s.between(ctx, func() error { // nobody changes the state meanwhile
		names = slices.Sorted(maps.Keys(s.st.sinks))
		return s.view(func(tx *bolt.Tx) error { return s.st.export(tx, put) })
	}); err != nil {
		return lines, err
	}
	for _, name := range names {
		q := event.DeadQuery{Sink: name, Limit: 100}
		for {
			letters, err := s.Dead(q)
			if err != nil {
				return lines, err
			}
			for _, l := range letters {
				e := exported("dead", name, l.Event)
				e.DeadAt, e.Attempts, e.Reason = instant(l.DeadAt), l.Attempts, l.Reason
				if err := put(e); err != nil {
					return lines, err
				}
				q.After = l.Seq
			}
			if len(letters) < q.Limit {
				break
			}
		}
	}
	return lines, nil
}

// export writes positions, and what each sink is owed.
func (st *state) export(tx *bolt.Tx, put func(Exported) error) error {
	for _, name := range slices.Sorted(maps.Keys(st.sources)) {
		src := st.sources[name]
		if err := put(Exported{Kind: "position", Source: name, Identity: src.identity, Position: src.position, Moved: instant(src.moved)}); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(st.sinks)) {
		k := st.sinks[name]
		if err := exportOwed(tx, k, st.next, put); err != nil {
			return err
		}
		for _, r := range k.replays {
			if err := exportReplay(tx, r, k, put); err != nil {
				return err
			}
		}
	}
	return nil
}

func exportOwed(tx *bolt.Tx, k *sink, next uint64, put func(Exported) error) error {
	c := tx.Bucket([]byte(bucketLog)).Cursor()
	from := k.scan
	for seq := range k.out {
		from = min(from, seq)
	}
	for seq := range k.failing {
		from = min(from, seq)
	}
	for key, value := c.Seek(seqKey(from)); key != nil; key, value = c.Next() {
		seq := binary.BigEndian.Uint64(key)
		_, open := k.out[seq]
		x := k.failing[seq]
		h, headErr := readHead(key, value)
		if !open && x == nil && (seq < k.scan || seq >= next || k.fresh == 0 || headErr != nil || !h.wantedBy(k.index)) {
			continue
		}
		ev, err := readEvent(key, value)
		e := exported("owed", k.name, ev)
		if err != nil {
			e = Exported{Kind: "owed", Sink: k.name, Reason: "the record " + bucketKey(bucketLog, key) + " can't be read: " + err.Error(), Raw: value}
		}
		if x != nil {
			e.Attempts = x.attempts
		}
		if err := put(e); err != nil {
			return err
		}
	}
	return nil
}

// exportReplay writes a replay and the events that it has left. One that the sink is owed anyway is not written twice.
func exportReplay(tx *bolt.Tx, r *replayJob, k *sink, put func(Exported) error) error {
	if r.cancelled {
		return nil
	}
	err := put(Exported{Kind: "replay", Sink: k.name, Replay: r.id, Started: instant(r.started), Sources: r.what.Sources, Types: r.what.Events,
		Total: r.total, Left: r.left})
	log, dead := tx.Bucket([]byte(bucketLog)), tx.Bucket([]byte(prefixDead+k.name))
	c := log.Cursor()
	for key, value := c.Seek(seqKey(r.pin)); err == nil && key != nil && binary.BigEndian.Uint64(key) < r.what.To; key, value = c.Next() {
		seq := binary.BigEndian.Uint64(key)
		_, open := r.out[seq]
		if !open && seq < r.scan || k.owes(log, seq) || k.failing[seq] != nil || dead.Get(key) != nil {
			continue
		}
		if _, matches := r.matches(key, value); !matches {
			continue
		}
		ev, _ := readEvent(key, value) // what matches can be read
		e := exported("owed", k.name, ev)
		e.Replay = r.id
		err = put(e)
	}
	return err
}

func exported(kind, sink string, ev event.Event) Exported {
	e := Exported{Kind: kind, Sink: sink, Source: ev.Source, ID: ev.ID, Type: ev.Type, Time: instant(ev.Time), Received: instant(ev.Received)}
	if json.Valid(ev.Data) {
		e.Data = ev.Data
	} else {
		e.Raw = ev.Data
	}
	return e
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
