package store

import (
	"context"
	"errors"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// Apply tells the store what is configured: which sources there are and who wants what from now on. A sink that is new starts
// at now; one that is gone is frozen with what it is owed, and goes on from there when its name comes back. A source that
// lists another account or API than its position belongs to is an *IdentityError and nothing changes; with acceptReset such a
// source starts anew. Applying the same again writes nothing.
func (s *Store) Apply(ctx context.Context, t event.Topology, acceptReset bool) error {
	return s.do(ctx, func(b *batch) error { return b.configure(t, acceptReset) })
}

func (b *batch) configure(t event.Topology, acceptReset bool) error {
	var other []string
	for _, spec := range t.Sources {
		if src := b.source(spec.Name); src != nil && src.identity != spec.Identity {
			other = append(other, spec.Name)
		}
	}
	if len(other) > 0 && !acceptReset {
		return &IdentityError{Sources: other}
	}
	index, err := b.freeIndex(t)
	if err != nil {
		return err
	}
	configured := map[string]bool{}
	for _, spec := range t.Sources {
		configured[spec.Name] = true
		b.applySource(spec)
	}
	for name := range b.st.sources {
		if src := b.source(name); src.configured && !configured[name] {
			src.configured = false
			b.putSource(name)
		}
	}
	clear(configured)
	for _, spec := range t.Sinks {
		configured[spec.Name] = true
		d := b.sink(spec.Name)
		if d == nil {
			d = draftOf(newSink(spec.Name, index, b.next))
			index++
			d.created, d.changed = true, true
			b.sinks[spec.Name] = d
			b.bucket(prefixX + spec.Name)
			b.bucket(prefixDead + spec.Name)
		}
		if d.frozen {
			d.frozen, d.changed = false, true
		}
		b.wake[spec.Name] = true
	}
	for name := range b.st.sinks {
		if d := b.sink(name); !d.frozen && !configured[name] {
			d.frozen, d.changed = true, true
		}
	}
	specs := event.Topology{Sources: slices.Clone(t.Sources), Sinks: slices.Clone(t.Sinks)}
	b.specs = &specs
	return nil
}

func (b *batch) applySource(spec event.SourceSpec) {
	src := b.source(spec.Name)
	switch {
	case src == nil:
		b.sources[spec.Name] = &source{identity: spec.Identity, configured: true, generation: 1}
	case src.identity != spec.Identity:
		*src = source{identity: spec.Identity, configured: true, generation: src.generation + 1,
			aside: src.aside, gapCount: src.gapCount, gaps: src.gaps}
	case !src.configured:
		src.configured = true
	default:
		return
	}
	b.putSource(spec.Name)
}

// freeIndex returns the first index that no sink has ever had.
func (b *batch) freeIndex(t event.Topology) (uint16, error) {
	free := 0
	for _, k := range b.st.sinks {
		free = max(free, int(k.index)+1)
	}
	for _, d := range b.sinks {
		free = max(free, int(d.index)+1)
	}
	if free+len(t.Sinks) > math.MaxUint16 {
		return 0, errors.New("the store has known 65535 sinks and takes no further one")
	}
	return uint16(free), nil
}

// bucket makes an empty bucket.
func (b *batch) bucket(name string) {
	b.ops = append(b.ops, op{do: func(*bolt.Bucket, *op) error { return nil }, bucket: name})
}
