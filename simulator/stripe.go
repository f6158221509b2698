package simulator

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stripe is a simulated Stripe account's events: GET /v1/events and GET /v1/events/{id}, as https://docs.stripe.com/api/events/list
// and https://docs.stripe.com/api/pagination describe them: newest first, listed for 30 days, times in whole epoch seconds. Ids say
// nothing about order. Events may become visible after younger ones (Faults.Late), as users of the API have found
// (https://blog.sequin.io/finding-and-fixing-eventual-consistency-with-stripe-events).
type Stripe struct {
	account
	key  string
	live bool
}

// Limits of GET /v1/events.
const (
	stripeLimit        = 100
	stripeDefaultLimit = 10
	stripeRetain       = 30 * 24 * time.Hour
	stripeVersion      = "2025-09-30.clover"
)

// NewStripe makes an account without events.
func NewStripe(o Options) *Stripe {
	s := &Stripe{key: o.APIKey}
	s.init(s, o, stripeLimit, stripeRetain)
	if s.key == "" {
		s.key = "sk_test_" + strings.TrimPrefix(objectID(o.Seed, "stripe", 0), "stripe_")
	}
	s.live = strings.HasPrefix(s.key, "sk_live_")
	return s
}

// With returns the parameters of the preset stripe that reach this account at base.
func (s *Stripe) With(base string) map[string]string {
	return map[string]string{"api_key": s.key, "base_url": base}
}

func (s *Stripe) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Stripe-Version", stripeVersion)
	key, _, basic := r.BasicAuth() // the key is the user name (https://docs.stripe.com/api/authentication)
	if !basic {
		key = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	switch {
	case !s.allowed(w, key == s.key, "", "Invalid API Key provided"):
	case r.Method != http.MethodGet:
		s.refuse(w, http.StatusMethodNotAllowed, "", "Unsupported method")
	case r.URL.Path == "/v1/events":
		s.serveList(w, r)
	case strings.HasPrefix(r.URL.Path, "/v1/events/"):
		id := strings.TrimPrefix(r.URL.Path, "/v1/events/")
		if item, ok := s.find(id); ok {
			s.send(w, item)
			return
		}
		s.refuse(w, http.StatusNotFound, "resource_missing", "No such event: '"+id+"'")
	default:
		s.refuse(w, http.StatusNotFound, "", "Unrecognized request URL")
	}
}

// refuse answers as https://docs.stripe.com/api/errors says.
func (s *Stripe) refuse(w http.ResponseWriter, status int, code, message string) {
	kind := "invalid_request_error"
	if status >= 500 {
		kind = "api_error"
	}
	body := object{{"message", message}, {"type", kind}}
	switch code {
	case "rate_limited":
		body = append(body, member{"code", "rate_limit"})
	case "", "internal_error":
	default:
		body = append(body, member{"code", code})
	}
	writeError(w, status, object{{"error", body}})
}

// refuseParam answers 400 for a parameter.
func (s *Stripe) refuseParam(w http.ResponseWriter, code, param, message string) {
	writeError(w, http.StatusBadRequest, object{{"error", object{
		{"code", code}, {"message", message}, {"param", param}, {"type", "invalid_request_error"},
	}}})
}

// stripeQuery is what GET /v1/events is asked for.
type stripeQuery struct {
	cursorQuery
	types     []string
	from, end int64 // created, [from, end)
}

// parseStripeQuery returns the query, or the parameter that is wrong and the message of a 400.
func parseStripeQuery(values url.Values) (q stripeQuery, param, message string) {
	q = stripeQuery{
		cursorQuery: cursorQuery{limit: stripeDefaultLimit, after: values.Get("starting_after"), before: values.Get("ending_before")},
		types:       slices.Concat(values["type"], values["types[]"]), from: math.MinInt64, end: math.MaxInt64,
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > stripeLimit {
			return q, "limit", "Invalid integer: " + text
		}
		q.limit = n
	}
	if q.after != "" && q.before != "" {
		return q, "starting_after", "Received both starting_after and ending_before parameters. Please pass in only one."
	}
	for _, bound := range []struct {
		name string
		set  func(int64)
	}{
		{"created", func(n int64) { q.from, q.end = max(q.from, n), min(q.end, n+1) }},
		{"created[gt]", func(n int64) { q.from = max(q.from, n+1) }},
		{"created[gte]", func(n int64) { q.from = max(q.from, n) }},
		{"created[lt]", func(n int64) { q.end = min(q.end, n) }},
		{"created[lte]", func(n int64) { q.end = min(q.end, n+1) }},
	} {
		text := values.Get(bound.name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt32*1000 {
			return q, bound.name, "Invalid timestamp: " + text
		}
		bound.set(n)
	}
	q.wants = func(e *entry) bool {
		created := e.Time.Unix()
		return created >= q.from && created < q.end && (len(q.types) == 0 || slices.Contains(q.types, e.Type))
	}
	return q, "", ""
}

func (s *Stripe) serveList(w http.ResponseWriter, r *http.Request) {
	q, param, message := parseStripeQuery(r.URL.Query())
	if message != "" {
		s.refuseParam(w, "parameter_invalid", param, message)
		return
	}
	q.limit = min(q.limit, s.largest)
	page, more, ok := s.newestFirst(q.cursorQuery)
	if !ok {
		param = "starting_after"
		if q.before != "" {
			param = "ending_before"
		}
		s.refuseParam(w, "resource_missing", param,
			"Event "+q.after+q.before+" is no longer available because it's aged out of our retention policy")
		return
	}
	body := append(newBody(page), `{"object":"list","data":[`...)
	s.send(w, fmt.Appendf(appendItems(body, page), `],"has_more":%t,"url":"/v1/events"}`, more))
}

// stripeTypes are a few of https://docs.stripe.com/api/events/types, with the object that each is about.
var stripeTypes = []struct{ name, object string }{
	{"charge.succeeded", "charge"}, {"charge.failed", "charge"}, {"charge.refunded", "charge"}, {"customer.created", "customer"},
	{"customer.updated", "customer"}, {"customer.deleted", "customer"}, {"customer.subscription.updated", "subscription"},
	{"invoice.created", "invoice"}, {"invoice.paid", "invoice"}, {"invoice.payment_failed", "invoice"},
	{"payment_intent.succeeded", "payment_intent"}, {"payout.paid", "payout"},
}

// happen makes the next event, at t, to the second.
func (s *Stripe) happen(t time.Time, typ string) []*entry {
	m := s.newMaker(t.Truncate(time.Second))
	about := pick(m.r, stripeTypes)
	if typ == "" {
		typ = about.name
		if s.odd(&s.faults.Unknown, "unknown", m.r, usualUnknown) {
			typ = "v2.core.health." + m.word(letters[36:], 6)
		}
	}
	id := "evt_1" + m.word(letters, 23)
	var request any
	if m.r.IntN(3) > 0 {
		request = object{{"id", "req_" + m.word(letters, 14)}, {"idempotency_key", nil}}
	}
	data := object{
		{"id", m.pooled(about.object[:2])}, {"object", about.object}, {"amount", m.r.IntN(100_000)}, {"currency", "eur"},
		{"created", int(m.at.Add(-time.Hour).Unix())}, {"description", m.pickText(remarks)}, {"name", m.pickText(names)},
		{"livemode", s.live}, {"metadata", object{{"crm_id", m.number()}, {"note", m.pickText(remarks)}}}, {"next", nil},
	}
	item := object{
		{"id", id}, {"object", "event"}, {"api_version", stripeVersion}, {"created", int(m.at.Unix())}, {"data", object{{"object", data}}},
		{"livemode", s.live}, {"pending_webhooks", m.r.IntN(3)}, {"request", request}, {"type", typ},
	}
	return []*entry{{
		Event: Event{ID: id, Type: typ, Time: m.at, Raw: slices.Clip(m.style().append(nil, item, 0))}, seq: s.seq,
	}}
}
