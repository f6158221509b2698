package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"tidings/event"
)

// partSize bounds the bytes of events in one transaction.
const partSize = 4 << 20

// Position returns where source stands; a source that the store has never heard of was never polled.
func (s *Store) Position(source string) (event.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return event.Position{}, s.dead
	}
	src := s.st.sources[source]
	return event.Position{Generation: src.generation, Data: bytes.Clone(src.position)}, nil
}

// Known reports for each id whether it is remembered.
func (s *Store) Known(source string, ids []string) ([]bool, error) {
	s.mu.Lock()
	m := s.st.memory
	s.mu.Unlock()
	prints := make([]fingerprint, len(ids))
	for i, id := range ids {
		prints[i] = m.fingerprint(source, id)
	}
	return s.remembered(prints)
}

// Commit makes c durable, or nothing of it: event.ErrStale, event.ErrFull, event.ErrUnknownOutcome. Only of a commit with more
// than 4 MB of events, which takes several transactions, an error can leave the first ones durable: the position goes with the
// last, so what was committed is listed again and recognised. One that has ids to remember beside its events is one transaction,
// however large. The answer counts what is durable, also beside an error.
func (s *Store) Commit(ctx context.Context, c event.Commit) (event.Committed, error) {
	var sum event.Committed
	for {
		part := c
		var rest []event.Event
		if len(c.Remember) == 0 {
			rest = cut(c.Events)
		}
		if part.Events = c.Events[:len(c.Events)-len(rest)]; len(rest) > 0 {
			part.Position, part.Gap = nil, nil
		}
		done, err := s.commitPart(ctx, part)
		sum.New += done.New
		sum.Filtered += done.Filtered
		sum.Repeated += done.Repeated
		if err != nil || len(rest) == 0 {
			return sum, err
		}
		c.Events = rest
	}
}

// cut returns what doesn't fit into one transaction; one event always does.
func cut(events []event.Event) []event.Event {
	size := 0
	for i, ev := range events {
		if size += len(ev.Data); size > partSize && i > 0 {
			return events[i:]
		}
	}
	return nil
}

func (s *Store) commitPart(ctx context.Context, c event.Commit) (event.Committed, error) {
	prints := make([]fingerprint, len(c.Events), len(c.Events)+len(c.Remember))
	size := 0
	s.mu.Lock()
	m, src := s.st.memory, s.st.sources[c.Source]
	s.mu.Unlock()
	for i, ev := range c.Events {
		prints[i] = m.fingerprint(c.Source, ev.ID)
		size += len(ev.Data)
	}
	for _, id := range c.Remember {
		prints = append(prints, m.fingerprint(c.Source, id))
	}
	if c.Gap == nil && c.Generation == src.generation && (c.Position == nil || src.position != nil && bytes.Equal(c.Position, src.position)) {
		if known, err := s.remembered(prints); err == nil && !slices.Contains(known, false) {
			return event.Committed{Repeated: len(c.Events)}, nil
		}
	}
	var done event.Committed
	err := s.send(ctx, &request{size: size, prepare: func(b *batch) (err error) {
		done, err = b.commit(c, prints)
		return err
	}})
	if err != nil {
		return event.Committed{}, err
	}
	return done, nil
}

// commit puts c into the batch. prints are the fingerprints of its events and, behind them, of what is only remembered.
func (b *batch) commit(c event.Commit, prints []fingerprint) (event.Committed, error) {
	var done event.Committed
	src := b.source(c.Source)
	spec := sourceSpec(b.topology(), c.Source)
	switch {
	case src == nil || spec == nil:
		return done, fmt.Errorf("source %s is not configured any more: %w", c.Source, event.ErrStale)
	case src.generation != c.Generation:
		return done, fmt.Errorf("source %s: %w", c.Source, event.ErrStale)
	}
	known, err := b.known(prints)
	if err != nil {
		return done, err
	}
	var unseen []int
	seen := map[fingerprint]bool{}
	for i, f := range prints {
		if seen[f] || known[i] {
			if i < len(c.Events) {
				done.Repeated++
			}
			continue
		}
		seen[f] = true
		unseen = append(unseen, i)
	}
	if len(unseen) > 0 && b.s.room.full != "" {
		return event.Committed{}, fmt.Errorf("%w: %s", event.ErrFull, b.s.room.full)
	}

	fresh := make([]fingerprint, len(unseen))
	var entered []event.Event
	wanting := b.wanting(c.Source)
	moved := false
	for n, i := range unseen {
		fresh[n] = prints[i]
		if i >= len(c.Events) {
			continue
		}
		ev := c.Events[i]
		ev.Source, ev.Received = c.Source, b.now
		switch {
		case ev.Broken != "":
			b.setAside(event.SetAside{Source: c.Source, What: "item " + ev.ID, Why: ev.Broken}, ev.Data)
			src.aside++
			moved = true
			done.New++
		case !spec.Events.Match(ev.Type):
			done.Filtered++
		default:
			b.enter(ev, wanting(ev.Type))
			entered = append(entered, ev)
			done.New++
		}
	}
	b.remember(fresh)
	if c.Position != nil && (src.position == nil || !bytes.Equal(src.position, c.Position)) {
		src.position = bytes.Clone(c.Position)
		src.moved = b.now
		moved = true
	}
	if c.Gap != nil {
		gap := *c.Gap
		gap.Source = c.Source
		src.gapCount++
		src.gaps = append(append([]event.Gap(nil), src.gaps[max(0, len(src.gaps)-maxGaps+1):]...), gap)
		moved = true
		b.tell = append(b.tell, event.GapFound{Gap: gap})
		b.enterGap(gap)
	}
	if moved {
		b.putSource(c.Source)
	}
	if len(entered) > 0 {
		b.tell = append(b.tell, event.TakenIn{Source: c.Source, At: b.now, Events: entered})
	}
	return done, nil
}

// enter appends an event to the log and owes it to the sinks that want it. One that no sink wants is history at once.
func (b *batch) enter(ev event.Event, wanting []*sinkDraft) {
	seq := b.next
	b.next++
	wants := make([]uint16, len(wanting))
	for i, d := range wanting {
		wants[i] = d.index
		if d.fresh == 0 {
			d.floor = seq
		}
		d.fresh++
		d.changed = true
		b.wake[d.name] = true
	}
	key := seqKey(seq)
	b.put(bucketLog, key, eventRecord(key, ev, wants))
	b.after = append(b.after, func(st *state) { st.events++ })
}

// enterGap owes a gap, as an event of our own, to the sinks that name the source of such events.
func (b *batch) enterGap(gap event.Gap) {
	ev := event.GapEvent(gap)
	if wanting := b.wanting(ev.Source)(ev.Type); len(wanting) > 0 {
		ev.Received = b.now
		b.enter(ev, wanting)
		b.remember([]fingerprint{b.st.memory.fingerprint(ev.Source, ev.ID)})
		b.tell = append(b.tell, event.TakenIn{Source: ev.Source, At: b.now, Events: []event.Event{ev}})
	}
}

// wanting returns which sinks want a type of the source's events, by the filters of this moment.
func (b *batch) wanting(source string) func(typ string) []*sinkDraft {
	var specs []event.SinkSpec
	for _, spec := range b.topology().Sinks {
		if spec.Wants(source) {
			specs = append(specs, spec)
		}
	}
	byType := map[string][]*sinkDraft{}
	return func(typ string) []*sinkDraft {
		wanting, ok := byType[typ]
		if !ok {
			for _, spec := range specs {
				if spec.Events.Match(typ) {
					wanting = append(wanting, b.sink(spec.Name))
				}
			}
			byType[typ] = wanting
		}
		return wanting
	}
}

func sourceSpec(t event.Topology, name string) *event.SourceSpec {
	for i := range t.Sources {
		if t.Sources[i].Name == name {
			return &t.Sources[i]
		}
	}
	return nil
}

// SetPosition puts a source somewhere by a person's word; a poll that is under way will be refused. A nil position is that of a
// source that was never polled. What is remembered stays.
func (s *Store) SetPosition(ctx context.Context, source string, data []byte) error {
	data = bytes.Clone(data)
	return s.do(ctx, func(b *batch) error {
		src := b.source(source)
		if src == nil {
			return fmt.Errorf("the store knows no source %s", source)
		}
		src.position, src.generation, src.moved = data, src.generation+1, b.now
		if data == nil {
			src.moved = time.Time{}
		}
		b.putSource(source)
		return nil
	})
}
