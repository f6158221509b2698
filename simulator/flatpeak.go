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
	AccountID string        // default: drawn from Seed
	APIKey    string        // default: drawn from Seed; one that begins with sk_live_ makes a live account
	TokenLife time.Duration // of a bearer token, in whole seconds; default 1h
	PageSize  int           // most items on a page, whatever `limit` asks for; default 100
	Skew      time.Duration // how far the vendor's clock is ahead of ours
	Plain     bool          // no undated events and no unknown types, unless Faults ask for them
}

// Flatpeak is a simulated Flatpeak account, as https://docs.flatpeak.com describes the API: GET /login, GET /events and
// GET /events/{id}. Where the documentation is silent it does what Stripe does, whose list Flatpeak's resembles: a page of
// `ending_before` holds the events next to the cursor, and its has_more tells of still newer ones. A cursor that names no
// listed event is answered with 404.
//
// Under /_simulator/ it can be watched and driven by scripts: GET events, GET stats, POST events?n=5&late=2m&type=T,
// GET and POST faults (the text that ParseFaults reads).
type Flatpeak struct {
	account, key string
	live         bool
	tokenLife    time.Duration
	pageSize     int
	skew         time.Duration
	plain        bool
	seed         uint64
	control      http.Handler

	mu       sync.Mutex // held for as long as memory takes, never while a client is served
	list     list
	seq      uint64     // events made so far
	tokenKey uint64     // changed by Revoke
	requests *rand.Rand // draws what happens to requests; events don't depend on it
	arrivals *rand.Rand // draws when events come
	faults   Faults
	stats    Stats
	quiet    time.Time // the Retry-After that was last given
}

// NewFlatpeak makes an account without events.
func NewFlatpeak(o Options) *Flatpeak {
	f := &Flatpeak{
		account: o.AccountID, key: o.APIKey, tokenLife: max(o.TokenLife.Truncate(time.Second), time.Second),
		pageSize: o.PageSize, skew: o.Skew, plain: o.Plain, seed: o.Seed,
		list:     list{byID: map[string]*entry{}},
		requests: rand.New(rand.NewPCG(o.Seed, 1)),
		arrivals: rand.New(rand.NewPCG(o.Seed, 2)),
		stats:    Stats{Faults: map[string]int{}},
	}
	if f.account == "" {
		f.account = objectID(o.Seed, "acc", 0)
	}
	if f.key == "" {
		f.key = "sk_test_" + strings.TrimPrefix(objectID(o.Seed, "key", 0), "key_")
	}
	if o.TokenLife == 0 {
		f.tokenLife = time.Hour
	}
	if f.pageSize == 0 {
		f.pageSize = maxLimit
	}
	f.live = strings.HasPrefix(f.key, "sk_live_")
	f.control = f.newControl()
	return f
}

// AccountID returns the account's id, the user name of a login.
func (f *Flatpeak) AccountID() string { return f.account }

// APIKey returns the account's API key, the password of a login.
func (f *Flatpeak) APIKey() string { return f.key }

// SetFaults replaces the faults, from the next request and the next event on.
func (f *Flatpeak) SetFaults(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults.withLengths()
}

// Faults returns the faults as they stand: a count of next times goes down as they strike.
func (f *Flatpeak) Faults() Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults
}

// Stats returns the counts up to now.
func (f *Flatpeak) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	stats := f.stats
	stats.Events = len(f.list.entries)
	stats.Faults = make(map[string]int, len(f.stats.Faults))
	maps.Copy(stats.Faults, f.stats.Faults)
	return stats
}

func (f *Flatpeak) now() time.Time { return time.Now().Add(f.skew).UTC() }

// ServeHTTP serves the vendor's API and the control endpoints.
func (f *Flatpeak) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		f.control.ServeHTTP(w, r)
		return
	}
	fate := f.fate(r)
	if !wait(r.Context(), fate.hold) {
		return
	}
	w.Header().Set("Date", f.now().Format(http.TimeFormat)) // net/http's own would not know the skew
	switch {
	case fate.refuse != nil:
		fate.refuse(w)
	case r.Method != http.MethodGet:
		f.refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "This endpoint takes GET only")
	case r.URL.Path == "/login":
		f.login(w, r)
	case !f.authorized(w, r):
	case r.URL.Path == "/events":
		f.serveList(w, r)
	case strings.HasPrefix(r.URL.Path, "/events/"):
		f.serveOne(w, r, strings.TrimPrefix(r.URL.Path, "/events/"))
	default:
		f.refuse(w, http.StatusNotFound, "route_not_found", "There is nothing at "+r.URL.Path)
	}
}

// fate is what the faults make of a request before it reaches its endpoint.
type fate struct {
	hold   time.Duration
	refuse func(http.ResponseWriter) // answers instead of the endpoint
}

// fate counts a request and draws what happens to it.
func (f *Flatpeak) fate(r *http.Request) (fate fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stats.Requests++
	now := f.now()
	if now.Before(f.quiet) {
		f.stats.Hasty++
	}
	if f.strikes(&f.faults.Hang, "hang") {
		fate.hold += f.faults.Hang.For
	}
	if r.URL.Path == "/events" && f.strikes(&f.faults.Slow, "slow") {
		fate.hold += f.faults.Slow.For
	}
	switch {
	case f.strikes(&f.faults.Disabled, "disabled"):
		fate.refuse = func(w http.ResponseWriter) {
			f.refuse(w, http.StatusUnprocessableEntity, "account_disabled", "The account is disabled; contact support")
		}
	case f.strikes(&f.faults.RateLimited, "429"):
		seconds := max(1, int(f.faults.RateLimited.For.Round(time.Second)/time.Second))
		f.quiet = now.Add(fate.hold + time.Duration(seconds)*time.Second)
		fate.refuse = f.tooMany(strconv.Itoa(seconds))
	case f.strikes(&f.faults.RateLimitedDate, "429date"):
		f.quiet = now.Add(fate.hold + f.faults.RateLimitedDate.For + time.Second - 1).Truncate(time.Second)
		fate.refuse = f.tooMany(f.quiet.Format(http.TimeFormat))
	case f.strikes(&f.faults.ServerError, "5xx"):
		status := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}[f.requests.IntN(3)]
		fate.refuse = func(w http.ResponseWriter) {
			f.refuse(w, status, "internal_error", "Something went wrong on our side; try again later")
		}
	case f.strikes(&f.faults.HTML, "html"):
		fate.refuse = func(w http.ResponseWriter) { writeHTML(w, http.StatusBadGateway) }
	case f.strikes(&f.faults.HTML200, "html200"):
		fate.refuse = func(w http.ResponseWriter) { writeHTML(w, http.StatusOK) }
	}
	return fate
}

// strikes draws one of f.faults and counts it. f.mu is held.
func (f *Flatpeak) strikes(fault *Fault, name string) bool {
	struck := fault.strikes(f.requests)
	if struck {
		f.stats.Faults[name]++
	}
	return struck
}

func (f *Flatpeak) tooMany(retryAfter string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", retryAfter)
		f.refuse(w, http.StatusTooManyRequests, "rate_limited", "Too many requests")
	}
}

// refuse answers with the vendor's error object; its time has milliseconds and no zone, as documented.
func (f *Flatpeak) refuse(w http.ResponseWriter, status int, code, message string) {
	kind := "invalid_request"
	if status >= 500 || status == http.StatusUnprocessableEntity {
		kind = "api_error"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(styles[0].append(nil, object{
		{"object", "error"}, {"live_mode", f.live}, {"context", "api.events"}, {"type", kind}, {"code", code},
		{"message", message}, {"time_created", f.now().Format("2006-01-02T15:04:05.000")},
	}, 0))
}

func writeHTML(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	_, _ = fmt.Fprintf(w, "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr>"+
		"<center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
}
