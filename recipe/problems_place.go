package recipe

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// place checks how a place is kept, and that what it needs is there and nothing that another needs.
func (c *check) place(h *HTTP) {
	switch {
	case h.Position == "":
		c.add("position", "is missing; want %s (head_walk for a list that is newest first)", oneOf(Positions))
	case !c.words("position", h.Position, Positions...):
		return
	}
	c.words("order", h.Order, Newest, Oldest, Unordered)
	if h.Position == HeadWalk && (h.Order == Oldest || h.Order == Unordered) {
		c.add("order", "is %s, and head_walk needs a list that is newest first", h.Order)
	}
	if h.Position == TailCursor && h.Order == Newest {
		c.add("order", "is newest, and tail_cursor needs a list that goes on at its end")
	}
	for _, section := range []struct {
		name  string
		given bool
		of    []string
	}{
		{"window", h.Window != Window{} && (h.Position != TailCursor || h.Window != Window{Layout: h.Window.Layout}), []string{TimeWindow}},
		{"ack", h.Ack != Ack{}, []string{Acknowledge}},
		{"seek", h.Seek != Seek{}, []string{TailCursor}},
		{"changes", !h.Changes.none(), []string{Snapshot, TimeWindow}},
		{"for_each", h.ForEach != nil, []string{TimeWindow, Acknowledge, Snapshot}},
	} {
		if section.given && h.Position != "" && !slices.Contains(section.of, h.Position) {
			c.add(section.name, "belongs to position %s, and this is %s", oneOf(section.of), h.Position)
		}
	}
}

func (x Changes) none() bool {
	return x.Resource == "" && x.Created == "" && x.Updated == "" && x.Deleted == "" && x.Born == "" && len(x.Ignore) == 0
}

// paging checks what pages follow each other by, of the list or of the values that it is made for.
func (c *check) paging(path string, p Paging) {
	c.words(path+".in", p.In, InQuery, InBody, InHeader, InPath, InURL)
	whole := p.In == InPath || p.In == InURL // the cursor has no name of its own there
	switch {
	case whole && p.Param != "":
		c.add(path+".param", "has no meaning with in: %s; leave it out", p.In)
	case !whole && p.Param == "" && p.Cursor == Link:
		c.add(path+".in", "must be url: a Link header gives the next page's address")
	case !whole && p.Param == "" && p.Cursor != "":
		c.add(path+".param", "is missing; it is the %s that takes %s.cursor", taker(p.In), path)
	case (whole || p.Param != "") && p.Cursor == "":
		c.add(path+".cursor", "is missing; write last_id, page, offset or link, or the path to the next cursor in the response")
	case !whole && p.Param == "" && (p.More != "" || p.Done != ""):
		c.add(path+pick(p.More != "", ".more", ".done"), "needs %s.param and %s.cursor: without them there is no way to ask for more", path, path)
	case p.In != InURL && p.Cursor == Link:
		c.add(path+".in", "must be url: a Link header gives the next page's address")
	case p.In == InURL && slices.Contains([]string{LastID, Page, Offset}, p.Cursor):
		c.add(path+".cursor", "is %s, and in: url needs the next page's address: link, or the path to it in the response", p.Cursor)
	}
	if p.In == InHeader {
		c.header(path+".param", p.Param)
	}
	if p.Zero && p.Cursor != Page {
		c.add(path+".zero", "belongs to cursor: page")
	}
	if p.Current != "" && p.Cursor != Page {
		c.add(path+".current", "belongs to cursor: page")
	}
	if p.More != "" && p.Done != "" {
		c.add(path+".done", "says the same as more, the other way round; give one of them")
	}
	switch {
	case p.Size < 0:
		c.add(path+".size", "is %d; want at least 1", p.Size)
	case p.Size == 0 && p.Limit != "":
		c.add(path+".size", "is missing; it is what %s.limit asks for", path)
	}
	if p.Limit != "" && p.Limit == p.Param && !whole {
		c.add(path+".limit", "is the same query parameter as %s.param", path)
	}
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func taker(in string) string {
	switch in {
	case InHeader:
		return "header"
	case InBody:
		return "path in the body"
	}
	return "query parameter"
}

// cursor checks what the list's own paging needs of the rest of its recipe.
func (c *check) cursor(h *HTTP) {
	p := h.Paging
	if p.Cursor == LastID && (h.ID == "" || strings.ContainsAny(h.ID, "{}") || h.Explode != "") {
		c.add("paging.cursor", "is last_id, which needs id to be a plain path into the listed item: the API takes its own id, nothing made of it")
	}
	if p.In == InBody && h.Method != "POST" {
		c.add("paging.in", "is body, which needs method: POST")
	}
	if inPath := has(h.URL, "cursor"); inPath != (p.In == InPath) {
		if inPath {
			c.add("url", "has {cursor}, which needs paging.in: path")
		} else {
			c.add("url", "says nowhere where the cursor goes; write {cursor} in it")
		}
	}
	if h.Position == TailCursor && p.Cursor == "" {
		c.add("paging", "is missing; tail_cursor keeps its place with paging.cursor")
	}
}

func (c *check) window(h *HTTP) {
	w := h.Window
	if h.Position == TailCursor { // the layout of {start} alone
		c.layout("window.layout", w.Layout, "how {start} is written; want unix, unix_ms, or Go's layout such as 2006-01-02")
	}
	if h.Position != TimeWindow {
		return
	}
	c.words("window.in", w.In, InHeader)
	if w.In == InHeader {
		c.header("window.since", w.Since)
		c.header("window.until", w.Until)
	}
	switch {
	case w.Since == "":
		c.add("window.since", "is missing; it is the %s that takes the window's beginning", taker(h.windowIn()))
	case w.Since == w.Until, w.In == InHeader && strings.EqualFold(w.Since, w.Until):
		c.add("window.until", "is the same %s as window.since", taker(h.windowIn()))
	}
	if h.Limits.Validators && w.In == InHeader && slices.Contains([]string{"if-modified-since", "if-none-match"}, strings.ToLower(w.Since)) {
		c.add("window.since", "is a header that limits.validators sets; leave limits.validators out")
	}
	if p := h.Paging; w.Since != "" && (w.In == InHeader) == (p.In == InHeader) && slices.ContainsFunc([]string{w.Since, w.Until}, func(end string) bool {
		return end != "" && strings.EqualFold(end, p.Param)
	}) {
		c.add("paging.param", "is %q, which window sets; each takes something else", p.Param)
	}
	if w.Until == "" && (w.Lag != "" || w.Step != "") {
		c.add("window.until", "is missing; lag and step say where it stands")
	}
	c.layout("window.layout", w.Layout, "how the window's ends are written; want unix, unix_ms, or Go's layout such as 2006-01-02")
	c.duration("window.lag", w.Lag)
	c.duration("window.step", w.Step)
	if h.Time == "" {
		c.add("time", "is missing; time_window keeps its place by it")
	}
}

func (c *check) ack(h *HTTP) {
	if h.Position != Acknowledge {
		return
	}
	a := h.Ack
	c.words("ack.method", a.Method, "POST", "PUT", "PATCH", "DELETE")
	c.further("ack.url", a.URL, h.URL, "the address that takes what was taken in")
	if a.Body != "" {
		c.jsonBody("ack.body", a.Body)
	}
	one, many := has(a.URL, "id"), has(a.URL, "ids") || has(a.Body, "ids", "cursor")
	switch {
	case a.URL == "":
	case has(a.URL, "ids", "cursor"):
		c.add("ack.url", "has {ids} or {cursor}, which stand in the body only; an address has {id}")
	case !one && !many && !has(a.Body, "id"):
		c.add("ack", "says nowhere what is acknowledged; write {id} in url, or {id}, {ids} or {cursor} in body")
	case (one || has(a.Body, "id")) && many:
		c.add("ack", "has {id}, for one event a request, beside {ids} or {cursor}, for a page; use one of them")
	}
	if (one || has(a.Body, "id", "ids")) && (h.ID == "" || strings.ContainsAny(h.ID, "{}") || h.Explode != "") {
		c.add("ack", "needs id to be a plain path into the listed item: the API takes its own id, nothing made of it")
	}
}

func (c *check) seek(h *HTTP) {
	s := h.Seek
	if h.Position != TailCursor || s == (Seek{}) {
		return
	}
	c.words("seek.method", s.Method, "GET", "POST")
	c.further("seek.url", s.URL, h.URL, "the address that gives a cursor for a time")
	if s.Body != "" {
		c.jsonBody("seek.body", s.Body)
	}
	if s.Cursor == "" {
		c.add("seek.cursor", "is missing; it is the path to the cursor in the answer")
	}
	if !has(s.URL, "start") && !has(s.Body, "start") {
		c.add("seek", "says nowhere which time is sought; write {start} in body or url")
	}
}

func (c *check) changes(h *HTTP) {
	x := h.Changes
	if h.Position == Snapshot && x.none() {
		c.add("changes", "is missing; snapshot makes events of resources: it says which, and their types")
		return
	}
	if x.none() || h.Position != Snapshot && h.Position != TimeWindow {
		return
	}
	if x.Resource == "" {
		c.add("changes.resource", "is missing; it is the path to what identifies the resource whatever its version, such as id")
	}
	c.identify("changes.resource", x.Resource, h)
	c.named("changes.created", x.Created, h)
	c.named("changes.updated", x.Updated, h)
	c.named("changes.deleted", x.Deleted, h)
	if x.Created == "" && x.Updated == "" && x.Deleted == "" {
		c.add("changes", "makes no event; give the type of one of created, updated and deleted, such as =order.created")
	}
	if h.Position == TimeWindow && x.Updated != "" && saysNoMore(h.ID, x.Resource) {
		c.add("id", "is that of the resource, the same for each of its versions, so no change of it would be seen; "+
			"write what changes with it too, such as {id}@{updated}, or leave id out: the content then tells")
	}
	if h.Position == TimeWindow && x.Deleted != "" {
		c.add("changes.deleted", "belongs to position snapshot: a window does not show what is gone")
	}
	if h.Position == Snapshot && x.Born != "" {
		c.add("changes.born", "belongs to position time_window: a snapshot knows what is new")
	}
	if slices.Contains(x.Ignore, "") || slices.ContainsFunc(x.Ignore, func(key string) bool { return strings.ContainsAny(key, ".|") }) {
		c.add("changes.ignore", "has a path in it; it takes keys of the resource itself")
	}
}

// saysNoMore reports whether an id is made of nothing but what a resource is identified by.
func saysNoMore(id, resource string) bool {
	paths := func(text string) []string {
		if t, err := ParseTemplate(text); err == nil && len(t.Names()) > 0 {
			return t.Names()
		}
		return []string{text}
	}
	of := paths(resource)
	return id != "" && !slices.ContainsFunc(paths(id), func(path string) bool { return !slices.Contains(of, path) })
}

var asName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (c *check) forEach(h *HTTP) {
	e := h.ForEach
	if e == nil {
		return
	}
	c.further("for_each.url", e.URL, h.URL, "the address of the list of values")
	for key, text := range e.Query {
		c.template("for_each.query."+key, text, "")
	}
	c.plainPath("for_each.items", e.Items)
	if e.Value == "" {
		c.add("for_each.value", "is missing; it is the path to the value in each item")
	}
	switch {
	case e.As == "":
		c.add("for_each.as", "is missing; it is the name under which url, query or body use the value")
	case !asName.MatchString(e.As) || slices.Contains([]string{"cursor", "start", "id", "ids"}, e.As):
		c.add("for_each.as", "is %q; want a name of a-z, 0-9 and _ that is none of cursor, start, id and ids", e.As)
	case !h.uses(e.As):
		c.add("for_each.as", "is %s, which nothing uses; write {%s} in url, query or body", e.As, e.As)
	}
	c.paging("for_each.paging", e.Paging)
	if e.Paging.Cursor == LastID || e.Paging.In == InBody || e.Paging.In == InPath {
		c.add("for_each.paging", "can't be by last_id, in the body or in the path; the list of values is a plain GET")
	}
}

// uses reports whether the requests for pages have {name}.
func (h *HTTP) uses(name string) bool {
	if has(h.URL, name) || has(h.Body, name) {
		return true
	}
	for _, values := range []map[string]string{h.Query, h.First} {
		for _, text := range values {
			if has(text, name) {
				return true
			}
		}
	}
	return false
}

// minEvery is the shortest time between two polls.
const minEvery = 100 * time.Millisecond

func (c *check) limits(l Limits) {
	c.duration("limits.every", l.Every)
	if every, err := Duration(l.Every); err == nil && every > 0 && every < minEvery {
		c.add("limits.every", "is %q; want at least %v", l.Every, minEvery)
	}
	if l.Rate < 0 {
		c.add("limits.rate", "is %v; want how many requests a second, such as 0.5", l.Rate)
	}
	switch {
	case l.Burst < 0:
		c.add("limits.burst", "is %d; want at least 1", l.Burst)
	case l.Burst > 0 && l.Rate == 0:
		c.add("limits.rate", "is missing; burst is how many requests may go at once within it")
	}
	c.header("limits.remaining", l.Remaining)
	c.header("limits.reset", l.Reset)
	c.header("limits.interval", l.Interval)
	c.words("limits.reset_in", l.ResetIn, resetUnits...)
	if l.Reset == "" && l.ResetIn != "" {
		c.add("limits.reset", "is missing; reset_in is its unit")
	}
	if l.Reset != "" && l.ResetIn == "" {
		c.add("limits.reset_in", "is missing; want %s", oneOf(resetUnits))
	}
}
