package simulator

import (
	"net/http"
	"strings"
	"time"
)

// Flatpeak is a simulated Flatpeak account, as https://docs.flatpeak.com describes the API: GET /login, GET /events and
// GET /events/{id}. Where the documentation is silent it does what Stripe does, whose list Flatpeak's resembles: a page of
// `ending_before` holds the events next to the cursor, and its has_more tells of still newer ones. A cursor that names no
// listed event is answered with 404.
type Flatpeak struct {
	account
	accountID, key string
	live           bool
	tokenLife      time.Duration
}

// NewFlatpeak makes an account without events.
func NewFlatpeak(o Options) *Flatpeak {
	f := &Flatpeak{accountID: o.AccountID, key: o.APIKey, tokenLife: max(o.TokenLife.Truncate(time.Second), time.Second)}
	f.init(f, o, maxLimit, 0)
	f.disabledStatus, f.disabledCode = http.StatusUnprocessableEntity, "account_disabled"
	if f.accountID == "" {
		f.accountID = objectID(o.Seed, "acc", 0)
	}
	if f.key == "" {
		f.key = "sk_test_" + strings.TrimPrefix(objectID(o.Seed, "key", 0), "key_")
	}
	if o.TokenLife == 0 {
		f.tokenLife = time.Hour
	}
	f.live = strings.HasPrefix(f.key, "sk_live_")
	return f
}

// With returns the parameters of the preset flatpeak that reach this account at base.
func (f *Flatpeak) With(base string) map[string]string {
	return map[string]string{"account_id": f.accountID, "api_key": f.key, "base_url": base}
}

func (f *Flatpeak) serve(w http.ResponseWriter, r *http.Request) {
	switch {
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

// refuse answers with the vendor's error object; its time has milliseconds and no zone, as documented.
func (f *Flatpeak) refuse(w http.ResponseWriter, status int, code, message string) {
	kind := "invalid_request"
	if status >= 500 || status == http.StatusUnprocessableEntity {
		kind = "api_error"
	}
	writeError(w, status, object{
		{"object", "error"}, {"live_mode", f.live}, {"context", "api.events"}, {"type", kind}, {"code", code},
		{"message", message}, {"time_created", f.now().Format("2006-01-02T15:04:05.000")},
	})
}

// happen makes the next event, at t. It depends on the seed, on how many were made before, on t and on the faults that concern
// new events, and on nothing else.
func (f *Flatpeak) happen(t time.Time, typ string) []*entry {
	m := flatpeakMaker{maker: f.newMaker(t.UTC().Truncate(time.Second)), account: f.accountID, live: f.live}
	m.undated = f.odd(&f.faults.NoTime, "notime", m.r, usualUndated)
	strange := f.odd(&f.faults.Unknown, "unknown", m.r, usualUnknown)
	if typ == "" {
		typ = m.drawType(strange)
	}
	e := m.event(typ)
	e.seq = f.seq
	return []*entry{e}
}
