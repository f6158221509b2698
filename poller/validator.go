package poller

import "tidings/event"

// validators lets a feed ask for the first page of a poll only if it has changed. A validator counts for the very same request, once
// the poll that saw it was taken in whole, and until the position is set by a person. It is kept in memory only.
type validators struct {
	kept       Request // of the last poll, with its Validator; zero where there is none
	offered    Request // of this poll's first page
	pages      int     // of this poll
	generation uint64
}

// beginPoll forgets what the last poll kept unless this one ends well.
func (f *feed) beginPoll() { f.offered, f.pages, f.rounds = Request{}, 0, 0 }

// endPoll keeps the validator of the poll's first page. Of a list that is read whole each time the first page says nothing of those
// behind it; of one that shows its newest event first it says all, once nothing is listed late any more.
func (f *feed) endPoll() {
	f.kept = Request{}
	if f.Kind == HeadWalk || f.pages == 1 {
		f.kept = f.offered
	}
}

// askWhole lets the next poll see the list though it has not changed.
func (f *feed) askWhole() { f.kept, f.offered = Request{}, Request{} }

// at forgets the validator where the position has another generation than before.
func (f *feed) at(generation uint64) {
	if generation != f.generation {
		f.generation, f.kept = generation, Request{}
	}
}

// conditional returns r with the validator that is kept for it.
func (f *feed) conditional(r Request) Request {
	kept := f.kept
	f.kept = Request{} // until the poll has ended well
	same := kept
	same.Validator = ""
	if f.pages == 0 && same == r {
		return kept
	}
	return r
}

// passed notes a page that was asked for with r. One that has not changed keeps its validator.
func (f *feed) passed(r Request, page event.Page) {
	if page.Validator != "" || !page.NotModified {
		r.Validator = page.Validator
	}
	if f.pages++; f.pages == 1 {
		f.offered = r
	}
}
