package poller

import (
	"fmt"

	"tidings/event"
)

// minWrong is how many neighbours of a page must stand the wrong way before its order is called wrong.
const minWrong = 8

// checkOrder compares a page with the order that the list is declared to have. Events that bear the same time, or none, say nothing, and
// a single one that stands right is enough: APIs list late what is late. Nothing of a list that is turned round may be taken for known
// or new.
func (f *feed) checkOrder(page event.Page) error {
	order := f.Order
	if order == "" {
		order = map[Kind]Order{HeadWalk: Newest, TailCursor: Oldest}[f.Kind]
	}
	if order != Newest && order != Oldest {
		return nil
	}
	rising, falling := 0, 0
	var before event.Event
	for _, e := range page.Events {
		if e.Time = dated(e.Time); e.Time.IsZero() {
			continue
		}
		switch {
		case before.Time.IsZero():
		case e.Time.After(before.Time):
			rising++
		case e.Time.Before(before.Time):
			falling++
		}
		before = e
	}
	right, wrong, is := rising, falling, Newest
	if order == Newest {
		right, wrong, is = falling, rising, Oldest
	}
	if right > 0 || wrong < minWrong {
		return nil
	}
	none := "" // of a walk from the head the order is all that tells where to end
	if f.Kind != HeadWalk {
		none = ", or say order: none where its times need not be in order"
	}
	return fmt.Errorf("%s lists its %s event first, and is configured as one that lists the %s first (order: %s), so nothing of it is taken in: "+
		"put order and position right%s", f.label(), is, order, order, none)
}
