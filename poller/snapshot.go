package poller

import (
	"context"
	"fmt"
	"time"

	"tidings/event"
)

// snapshot makes events of a list that is one of resources: each poll reads all of it and compares it with what it was. What the list
// was stands in the position and moves with the events of each transaction, so a change is told once, whenever a poll ends.
//
// A resource is deleted when two complete lists in a row lack it, since pages shift while they are read, and no list that broke off in
// between has shown it. An empty list where there were resources is a failure the first time, and counts from the second.
type snapshot struct {
	*feed
	wrapper    Wrapper
	pos        *snapshotPosition // nil: to be read from the store. It may be ahead of it by what is missing
	generation uint64
	quiet      quiet
	twice      map[string][2]resource // what the last reading listed twice, and as what first
}

const maxResources = 50_000

// snapshotRound is one reading of the list.
type snapshotRound struct {
	*snapshot
	harvest harvest
	told    *event.Polled
	changes map[string]resource // what the harvest makes of the position; the zero resource is deleted
	listed  map[string]resource
	head    time.Time
	partial bool // an item could not be read, or there may be more than the one page that the API gives: nothing is known to be missing
	back    bool // something that was missing is listed again
}

func (s *snapshot) round(ctx context.Context, told *event.Polled) (again bool, err error) {
	if err := s.load(); err != nil {
		return false, err
	}
	r := &snapshotRound{snapshot: s, told: told, harvest: s.newHarvest(s.generation), changes: map[string]resource{}, listed: map[string]resource{}}
	fresh, due := s.try(&s.pos.common)
	if due {
		if err := s.keep(ctx, r); err != nil {
			return false, err
		}
	}
	guard, before := newGuard(), s.twice
	s.twice = map[string][2]resource{}
	for cursor := ""; ; {
		page, err := s.fetch(ctx, Request{Cursor: cursor}, told)
		if err != nil {
			return false, r.broken(ctx, err)
		}
		if page.NotModified {
			return false, nil
		}
		if err := guard.pass(cursor, page); err != nil {
			return false, s.endless(err, "nothing is known to be missing from it")
		}
		if r.head.IsZero() {
			r.head = clock(page)
		}
		if s.pos.Start == nil {
			s.resolve(&s.pos.common, r.head, fresh)
			if err := s.keep(ctx, r); err != nil {
				return false, err
			}
		}
		r.partial = r.partial || page.Full && s.Single
		if err := r.take(ctx, page, before); err != nil {
			return false, err
		}
		if page.Next == "" || page.Idle {
			return false, r.end(ctx)
		}
		cursor = page.Next
	}
}

// load reads the position, unless what is in memory is of the same generation.
func (s *snapshot) load() error {
	stored, err := s.position()
	if err != nil {
		return err
	}
	if s.pos != nil && s.generation == stored.Generation {
		return nil
	}
	pos := &snapshotPosition{common: common{Version: positionVersion, Kind: Snapshot}, Resources: map[string]resource{}}
	if err := decode(stored.Data, Snapshot, pos); err != nil {
		return s.unreadable(err)
	}
	if pos.Epoch == "" {
		pos.Epoch = newEpoch()
	}
	s.pos, s.generation = pos, stored.Generation
	return nil
}

// take compares a page with what there was. A resource that is listed twice, and not as the same, has changed while the list was read, or
// is two by one id: then the next reading shows the same two again, and would tell a change from the one to the other for ever.
func (r *snapshotRound) take(ctx context.Context, page event.Page, twice map[string][2]resource) error {
	for _, e := range page.Events {
		if e.Broken != "" || e.Resource == "" {
			r.partial = true
			if err := r.aside(ctx, e); err != nil {
				return err
			}
			continue
		}
		now := resource{version: hashVersion(e.ID)}
		if first, again := r.listed[e.Resource]; again && first != now {
			pair := [2]resource{first, now}
			if _, told := r.twice[e.Resource]; !told {
				r.twice[e.Resource] = pair
			}
			if len(twice) == 0 || twice[e.Resource] == pair {
				return fmt.Errorf("%s lists the resource %.100q twice, and not as the same, so this poll ends there; if it goes on, changes.resource is "+
					"not what tells its resources apart: correct that key", r.label(), e.Resource)
			}
		}
		r.listed[e.Resource] = now
		was, known := r.resource(e.Resource)
		if known && was == now {
			r.told.Repeated++
			continue
		}
		r.back = r.back || was.missing
		if !known && len(r.pos.Resources)+len(r.changes) >= maxResources && r.count() >= maxResources {
			return fmt.Errorf("%s lists more than %d resources, the most that are compared with what they were: ask for less of it", r.label(), maxResources)
		}
		if known && was.version == now.version { // it was only missing
			r.changes[e.Resource] = now
			continue
		}
		change, told := r.change(known)
		if !told {
			r.told.History++
		} else if err := r.tell(ctx, e, change, now); err != nil {
			return err
		}
		r.changes[e.Resource] = now
	}
	return nil
}

// aside holds an item that can't be an event, once.
func (r *snapshotRound) aside(ctx context.Context, e event.Event) error {
	known, err := r.known(e.ID)
	if err != nil {
		return err
	}
	if e.Broken == "" {
		e.Broken = "it does not say which resource it is"
	}
	if known[0] || r.harvest.have[e.ID] {
		return nil
	}
	return r.hold(ctx, e)
}

// change says what has become of a resource that is listed otherwise than it was. false: the first list shows it, as the ground that
// later ones are compared with.
func (r *snapshotRound) change(known bool) (Change, bool) {
	switch {
	case known:
		return Updated, true
	case r.pos.CaughtUp || r.pos.Start.IsZero():
		return Created, true
	}
	return "", false
}

// tell holds the event of a change, where the recipe makes one of it. Its id is the change's own, also after the position was reset or
// set back.
func (r *snapshotRound) tell(ctx context.Context, e event.Event, change Change, now resource) error {
	r.pos.Changes++
	e.ID = r.pos.changeID(r.Name, e.Resource, change, now)
	if !r.wrapper.Wrap(&e, change) {
		return nil
	}
	return r.hold(ctx, e)
}

// hold holds an event. What is held is committed first where one more would be too much for memory, or for one transaction: the place
// goes with the events only as long as they are one.
func (r *snapshotRound) hold(ctx context.Context, e event.Event) error {
	h := &r.harvest
	if n := len(h.events); n == chunkItems || n > 0 && h.bytes+len(e.Data)+len(e.ID) > min(r.poller.memory(), chunkBytes) {
		if err := r.keep(ctx, r); err != nil {
			return err
		}
	}
	h.add(e, false)
	return nil
}

// broken keeps what a list has shown that broke off with err: what is there is there, and nothing is known to be missing.
func (r *snapshotRound) broken(ctx context.Context, err error) error {
	if ctx.Err() == nil && (r.back || len(r.harvest.events) > 0) {
		if err := r.keep(ctx, r); err != nil {
			return err
		}
	}
	r.apply()
	return err
}

// end compares what was listed with all that there was, and commits what is left to be told.
func (r *snapshotRound) end(ctx context.Context) error {
	pos := r.pos
	if len(r.listed) == 0 && len(pos.Resources) > 0 && !r.partial && !pos.Empty {
		pos.Empty = true
		r.askWhole()
		if r.quiet.due() {
			if err := r.keep(ctx, r); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s lists nothing, and had %d resources: it is asked again before that is believed", r.label(), len(pos.Resources))
	}
	missing := false
	for _, id := range pos.ids() {
		was, known := r.resource(id)
		if _, listed := r.listed[id]; listed || r.partial || !known {
			continue
		}
		if !was.missing {
			r.changes[id] = resource{version: was.version, missing: true}
			missing = true
			continue
		}
		if err := r.tell(ctx, event.Event{Source: r.poller.Source, Resource: id, Time: r.head}, Deleted, resource{}); err != nil {
			return err
		}
		r.changes[id] = resource{}
	}
	if missing {
		r.askWhole()
	}
	// What was missing once must not count when it is missing again much later, so its return is stored at once.
	due := !pos.CaughtUp || len(r.harvest.events) > 0 || r.back || pos.Empty && len(r.listed) > 0
	pos.CaughtUp, pos.Empty = true, pos.Empty && len(r.listed) == 0
	if due || len(r.changes) > 0 && r.quiet.due() {
		return r.keep(ctx, r)
	}
	r.apply()
	return nil
}

// keep commits what is held together with the place that it leads to.
func (s *snapshot) keep(ctx context.Context, r *snapshotRound) error {
	r.apply()
	if n := len(r.harvest.events); n > 0 && r.head.After(s.pos.Time) {
		s.pos.Time = r.head
	}
	return r.harvest.commit(ctx, encode(s.pos), nil, r.told)
}

// failed forgets what the store may not have.
func (s *snapshot) failed(_ context.Context, err error) (restart bool, _ error) {
	if isStoreError(err) {
		s.pos = nil
	}
	return stale(err)
}
