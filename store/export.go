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

// Exported is one line of an export. Kind says which: position, owed or dead.
type Exported struct {
	Kind     string     `json:"kind"`
	Sink     string     `json:"sink,omitempty"`
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
}

// Export writes where each source stands, what each sink is owed and every dead letter, as one JSON object a line. It holds a
// transaction as long as the writing takes: on a store at work, export a backup of it.
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
	s.mu.Lock()
	st := s.st
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(st.sources)) {
		src := st.sources[name]
		if err := put(Exported{Kind: "position", Source: name, Identity: src.identity, Position: src.position, Moved: instant(src.moved)}); err != nil {
			return lines, err
		}
	}
	names := slices.Sorted(maps.Keys(st.sinks))
	for _, name := range names {
		err := s.view(func(tx *bolt.Tx) error { return exportOwed(tx, st.sinks[name], st.next, put) })
		if err != nil {
			return lines, err
		}
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
	t = t.UTC()
	return &t
}
