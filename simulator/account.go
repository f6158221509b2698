package simulator

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options is what a simulated account is made of. The zero value is a working test account.
type Options struct {
	Seed      uint64        // of all that is random
	AccountID string        // Flatpeak's; default: drawn from Seed
	APIKey    string        // key or token; default: drawn from Seed. With Flatpeak and Stripe sk_live_... makes a live account
	TokenLife time.Duration // of Flatpeak's bearer token, in whole seconds; default 1h
	PageSize  int           // most items on a page, whatever is asked for; default: what the API documents
	Skew      time.Duration // how far the vendor's clock is ahead of ours
	Retain    time.Duration // how long an event is listed; default: what the API documents
	Interval  time.Duration // GitHub's X-Poll-Interval, in whole seconds; default 1m
	RateLimit int           // GitHub's requests an hour; default 5000
	Plain     bool          // no undated events and no unknown types, unless Faults ask for them
}

// vendor is what one API does its own way.
type vendor interface {
	// serve answers a request that no fault has kept from its endpoint.
	serve(w http.ResponseWriter, r *http.Request)
	// refuse answers with the vendor's error body.
	refuse(w http.ResponseWriter, status int, code, message string)
	// happen makes one thing happen at t, of that type or, where it is empty, of a random one, and returns what there is to tell of
	// it. The account is locked.
	happen(t time.Time, typ string) []*entry
}

// account is what all simulated APIs share: the clock, the list of what happened, the faults, the counts. Under /_simulator/ it can be
// watched and driven by scripts: GET events, facts and stats, POST events?n=5&late=2m&type=T, GET and POST faults (the text that
// ParseFaults reads).
type account struct {
	vendor    vendor
	seed      uint64
	skew      time.Duration
	plain     bool
	retain    time.Duration // 0: for ever
	newest    int           // only so many events are listed; 0: all of them
	resources bool          // there is no event list: the entries tell what became of resources, and are not listed by themselves
	largest   int           // most items on a page
	control   http.Handler

	disabledStatus int // how the vendor answers for an account that may not ask
	disabledCode   string

	mu       sync.Mutex // held for as long as memory takes, never while a client is served
	list     list
	seq      uint64     // things that happened so far
	requests *rand.Rand // draws what happens to requests; events don't depend on it
	arrivals *rand.Rand // draws when events come
	faults   Faults
	stats    Stats
	quiet    time.Time // the Retry-After that was last given
}

// init makes the account one of v, with the documented size of its largest page and how long it lists events.
func (a *account) init(v vendor, o Options, page int, retain time.Duration) {
	a.vendor, a.seed, a.skew, a.plain, a.largest, a.retain = v, o.Seed, o.Skew, o.Plain, page, retain
	if o.PageSize > 0 {
		a.largest = min(page, o.PageSize)
	}
	if o.Retain > 0 {
		a.retain = o.Retain
	}
	a.disabledStatus, a.disabledCode = http.StatusForbidden, "forbidden"
	a.list = list{byID: map[string]*entry{}}
	a.requests = rand.New(rand.NewPCG(o.Seed, 1))
	a.arrivals = rand.New(rand.NewPCG(o.Seed, 2))
	a.stats = Stats{Faults: map[string]int{}}
	a.control = a.newControl()
}

// SetFaults replaces the faults, from the next request and the next event on.
func (a *account) SetFaults(faults Faults) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = faults.withLengths()
}

// Faults returns the faults as they stand: a count of next times goes down as they strike.
func (a *account) Faults() Faults {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.faults
}

// Stats returns the counts up to now.
func (a *account) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	stats := a.stats
	stats.Events = len(a.list.entries)
	stats.Faults = make(map[string]int, len(a.stats.Faults))
	maps.Copy(stats.Faults, a.stats.Faults)
	return stats
}

func (a *account) now() time.Time { return time.Now().Add(a.skew).UTC() }

// ServeHTTP serves the vendor's API and the control endpoints.
func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		a.control.ServeHTTP(w, r)
		return
	}
	fate := a.fate(r)
	if !wait(r.Context(), fate.hold) {
		return
	}
	// net/http's own Date would not know the skew.
	w.Header().Set("Date", a.now().Add(fate.ahead).Format(http.TimeFormat))
	if fate.refuse != nil {
		fate.refuse(w)
		return
	}
	a.vendor.serve(w, r)
}

// fate is what the faults make of a request before it reaches its endpoint.
type fate struct {
	hold   time.Duration
	ahead  time.Duration             // of the Date
	refuse func(http.ResponseWriter) // answers instead of the endpoint
}

// fate counts a request and draws what happens to it.
func (a *account) fate(r *http.Request) (fate fate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Requests++
	now := a.now()
	if now.Before(a.quiet) {
		a.stats.Hasty++
	}
	if a.strikes(&a.faults.Hang, "hang") {
		fate.hold += a.faults.Hang.For
	}
	if r.Method == http.MethodGet && r.URL.Path != "/login" && a.strikes(&a.faults.Slow, "slow") {
		fate.hold += a.faults.Slow.For
	}
	if a.strikes(&a.faults.Date, "date") {
		fate.ahead = a.faults.Date.For
	}
	switch {
	case a.strikes(&a.faults.Disabled, "disabled"):
		fate.refuse = func(w http.ResponseWriter) {
			a.vendor.refuse(w, a.disabledStatus, a.disabledCode, "The account is disabled; contact support")
		}
	case a.strikes(&a.faults.RateLimited, "429"):
		seconds := max(1, int(a.faults.RateLimited.For.Round(time.Second)/time.Second))
		fate.refuse = a.tooMany(strconv.Itoa(seconds), now.Add(fate.hold+time.Duration(seconds)*time.Second))
	case a.strikes(&a.faults.RateLimitedDate, "429date"):
		until := now.Add(fate.hold + a.faults.RateLimitedDate.For + time.Second - 1).Truncate(time.Second)
		fate.refuse = a.tooMany(until.Format(http.TimeFormat), until)
	case a.strikes(&a.faults.ServerError, "5xx"):
		status := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}[a.requests.IntN(3)]
		fate.refuse = func(w http.ResponseWriter) {
			a.vendor.refuse(w, status, "internal_error", "Something went wrong on our side; try again later")
		}
	case a.strikes(&a.faults.HTML, "html"):
		fate.refuse = func(w http.ResponseWriter) { writeHTML(w, http.StatusBadGateway) }
	case a.strikes(&a.faults.HTML200, "html200"):
		fate.refuse = func(w http.ResponseWriter) { writeHTML(w, http.StatusOK) }
	}
	return fate
}

// strikes draws one of a.faults and counts it. a.mu is held.
func (a *account) strikes(fault *Fault, name string) bool {
	struck := fault.strikes(a.requests)
	if struck {
		a.stats.Faults[name]++
	}
	return struck
}

// tooMany tells a client that it is not to come back before until. One that has gone away meanwhile is not told.
func (a *account) tooMany(retryAfter string, until time.Time) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		a.mu.Lock()
		a.quiet = until
		a.mu.Unlock()
		w.Header().Set("Retry-After", retryAfter)
		a.vendor.refuse(w, http.StatusTooManyRequests, "rate_limited", "Too many requests")
	}
}

// allowed reports whether a request with good credentials is served, and refuses it if not: with 401, as it refuses a good one if
// that fault strikes.
func (a *account) allowed(w http.ResponseWriter, good bool, code, message string) bool {
	a.mu.Lock()
	struck := good && a.strikes(&a.faults.Unauthorized, "401")
	if !good {
		a.stats.Denied++
	}
	a.mu.Unlock()
	if good && !struck {
		return true
	}
	a.vendor.refuse(w, http.StatusUnauthorized, code, message)
	return false
}

// send answers 200 with a JSON body, cut off if that fault strikes: net/http closes a connection whose answer is shorter
// than its Content-Length.
func (a *account) send(w http.ResponseWriter, body []byte) {
	a.mu.Lock()
	cut := a.strikes(&a.faults.CutBody, "cut")
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if cut {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body)
}

// writeError answers with a JSON error body.
func writeError(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(styles[0].append(nil, body, 0))
}

func writeHTML(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	_, _ = fmt.Fprintf(w, "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr>"+
		"<center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
}

// newBody makes room for a page's items and an envelope.
func newBody(page []*entry) []byte {
	size := 256
	for _, e := range page {
		size += len(e.Raw) + 1
	}
	return make([]byte, 0, size)
}

// appendItems writes a page's items into a body, with commas between.
func appendItems(body []byte, page []*entry) []byte {
	for i, e := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.item()...)
	}
	return body
}

// selfURL is the address of the list that was asked for, as the client wrote it, with another query: what a next link holds.
func selfURL(r *http.Request, query string) string {
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	path, _, _ := strings.Cut(r.RequestURI, "?") // r.URL has lost a prefix that was stripped
	return scheme + "://" + r.Host + path + "?" + query
}
