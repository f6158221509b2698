// Package sources holds the fetchers: they ask an API for one page of its event list and give each item its id, type and
// time. The HTTP one acts on a recipe.HTTP; it logs in, keeps credentials to one origin, bounds time and bytes, and turns every
// failure into a *poller.FetchError of one sentence without a secret in it.
//
// Items are kept byte for byte: a document is checked once, then cut where its values stand, and never marshalled again.
package sources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// Options are what a source has beside its recipe. The zero value of a field means its default.
type Options struct {
	Source       string            // name of the source, put into its events
	Timeout      time.Duration     // of one request, its body included; 30s
	LoginTimeout time.Duration     // of a login; 15s
	MaxBody      int64             // bytes of one page, decompressed; 32 MiB
	UserAgent    string            // "tidings"
	Transport    http.RoundTripper // one of its own, with the proxy of the environment; see NewTransport
	Budgets      *Budgets          // shared by all sources of a process; its own
	Warn         func(error)       // told once when files of a Source's values can't be used; may be nil

	Trace  func(Exchange)                         // told of each request when it has ended; may be nil
	Open   []string                               // names of values that are no secrets: an Exchange has them
	Replay func(asked Exchange) (Exchange, error) // answers what Trace was told once, instead of the API; nil: the API does
}

// HTTP fetches from one JSON event list. It implements poller.Fetcher and is safe for use by several goroutines at once.
type HTTP struct {
	recipe  recipe.HTTP
	options Options
	client  *http.Client
	values  map[string]event.Secret
	veil    veil // all values; a request's token comes on top
	list    lister
	events  listing
	each    *values     // what the list is made for each of; nil where it is one
	types   changes     // of a list of resources
	origin  string      // what credentials go to
	url     *url.URL    // of the list, for its origin and its login; what a request puts in has a sample's value
	header  http.Header // of every request, with credentials that need no login
	login   *session    // nil without a login or an OAuth2 server
	budget  *budget
	size    atomic.Int64 // how many items pages are asked for now; 0: as the recipe says
	date    atomic.Int64 // the server's clock at its last answer; 0: not known
}

var _ poller.Fetcher = (*HTTP)(nil)

const defaultMaxBody = 32 << 20

// maxHalving is how long one Fetch goes on asking for smaller pages; with the last of them it ends within six minutes, which is what
// a poller's watchdog gives it.
const maxHalving = 4 * time.Minute

// Fetch asks for a page. One over the size limit is asked for again with half as many items, down to one, where the paging allows
// that; the smaller number stands until the list is begun anew, or has come to its end. Every error is a *poller.FetchError.
func (h *HTTP) Fetch(ctx context.Context, r poller.Request) (event.Page, error) {
	if h.each != nil {
		return h.fetchEach(ctx, r)
	}
	page, _, err := h.fetch(ctx, r, "")
	return page, err
}

// fetch asks for a page of the list, or of that of one of several values, and returns the status of the answer too.
func (h *HTTP) fetch(ctx context.Context, r poller.Request, value string) (event.Page, int, error) {
	paging := h.events.pager
	if r.Cursor == "" {
		h.size.Store(0)
	} else if paging.Cursor == "" {
		return event.Page{}, 0, failing("the list at %s has one page, and another was asked for", h.shown(h.url))
	}
	if !h.recipe.Limits.Validators {
		r.Validator = ""
	}
	until := time.Now().Add(maxHalving)
	for {
		size := cmp.Or(h.size.Load(), int64(paging.Size))
		req, err := h.build(&h.events, r, value, size)
		if err != nil {
			return event.Page{}, 0, failing("the list can't be asked: %w", err)
		}
		a, err := h.get(ctx, req)
		if err != nil {
			return event.Page{}, a.status, err
		}
		sized := paging.Limit != "" && size > 1 && !(paging.byURL() && r.Cursor != "")
		if a.over && sized && !paging.counted() && time.Now().Before(until) {
			h.size.Store(size / 2)
			continue
		}
		if a.over {
			return event.Page{}, a.status, h.pageTooLarge(a, size)
		}
		page, err := h.read(a, req, r, value, int(size))
		if err != nil {
			return event.Page{}, a.status, a.unreadable(err)
		}
		if page.Idle {
			h.size.Store(0)
		}
		return page, a.status, nil
	}
}

// pageTooLarge is the error of a page over the size limit that can't be made smaller, size being how many items were asked for.
func (h *HTTP) pageTooLarge(a answer, size int64) error {
	advice := "it has one event only, so the source goes on when the API lists that one no more, or shorter"
	switch {
	case h.events.pager.Limit == "":
		advice = "where the API gives smaller pages to who asks for them, set paging.limit and paging.size"
	case size > 1:
		advice = "set paging.size lower; pages that are counted, or whose address the API gives, can't be made smaller on the way"
	}
	return failing("%w: %s", a.tooLarge(h.options.MaxBody), advice)
}

// read makes a page of an answer to r.
func (h *HTTP) read(a answer, req request, r poller.Request, value string, size int) (page event.Page, err error) {
	at := place{cursor: r.Cursor, each: value, size: size, link: nextLink(a.header), resolve: func(next string) (string, error) {
		return h.keep(&h.events, req.url, next, h.fill(&h.events, r, value))
	}}
	switch {
	case a.status == http.StatusNotModified:
		page.NotModified, page.Idle = true, true
	case h.empty(a):
		page.Idle = true
	default:
		page, err = h.list.page(a.body, at, orNow(a.date()))
	}
	page.Date, page.Wait = a.date(), a.wait()
	if h.recipe.Limits.Validators {
		page.Validator = a.validator()
	}
	return page, err
}

// FetchOne asks for one event by its id. Every error is a *poller.FetchError.
func (h *HTTP) FetchOne(ctx context.Context, id string) (event.Event, error) {
	r, err := h.one(id)
	if err != nil {
		return event.Event{}, failing("%w", err)
	}
	a, err := h.get(ctx, r)
	if err != nil {
		return event.Event{}, err
	}
	if a.over {
		return event.Event{}, a.tooLarge(h.options.MaxBody)
	}
	body, err := parse(a.body)
	if err != nil {
		return event.Event{}, a.unreadable(err)
	}
	var e event.Event
	h.list.event(&e, &item{Result: body, around: body, ignore: h.recipe.Changes.Ignore}, noObject(body), orNow(a.date()))
	switch {
	case e.Broken != "":
		return event.Event{}, a.unreadable(fmt.Errorf("is no event: %s", e.Broken))
	case e.ID != id:
		return event.Event{}, a.unreadable(errors.New("is another event than the one asked for"))
	}
	return e, nil
}

// get makes a request with what auth asks for: with a token, once more with a new token when the API answers 401. What it returns
// is a success by its status and by the recipe's rules.
func (h *HTTP) get(ctx context.Context, r request) (answer, error) {
	r.timeout = h.options.Timeout
	r.max = h.options.MaxBody
	if h.login == nil {
		a, err := h.ask(ctx, r)
		if err != nil {
			return a, err
		}
		return a, h.judge(a)
	}
	for first := true; ; first = false {
		token, err := h.login.get(ctx, r.token)
		if err != nil {
			return answer{}, err
		}
		r.token = token
		a, err := h.ask(ctx, r)
		if err != nil {
			return a, err
		}
		if a.status == http.StatusUnauthorized && first && h.rule(a) == nil {
			continue
		}
		return a, h.judge(a)
	}
}

// failing is an error that says no more than "try again with backoff".
func failing(format string, args ...any) *poller.FetchError {
	return &poller.FetchError{Health: event.SourceFailing, Err: fmt.Errorf(format, args...)}
}

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.LoginTimeout = cmp.Or(o.LoginTimeout, 15*time.Second)
	o.MaxBody = cmp.Or(o.MaxBody, defaultMaxBody)
	o.UserAgent = cmp.Or(o.UserAgent, "tidings")
	if o.Transport == nil {
		o.Transport = defaultTransport()
	}
	if o.Budgets == nil {
		o.Budgets = new(Budgets)
	}
	return o
}
