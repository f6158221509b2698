package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Svix is a simulated Svix polling endpoint, as https://docs.svix.com/receiving/using-app-portal/polling-endpoints and the OpenAPI
// document of Svix describe it: GET /api/v1/app/{app}/poller/{sink}, oldest first "in the order they were sent", with an opaque
// iterator; the first call has no messages, an iterator and done false. Under .../consumer/{id} the position is kept here:
// giving an iterator back moves it, a call without one begins there, and POST .../seek sets it to a time.
//
// What the documentation leaves open is decided so: `after` is exclusive; an iterator behind the retention is invalid; a late
// message is listed last, with its older time.
type Svix struct {
	account
	app, sink, token string
	consumer         string            // the id that With names; empty: the client keeps its position
	consumers        map[string]uint64 // seq of the last message before a consumer's position
	epoch            int               // of iterators; changed when the fault "lost" strikes
}

// Limits of the polling endpoint.
const (
	svixLimit        = 250
	svixDefaultLimit = 50
	svixRetain       = 90 * 24 * time.Hour // https://docs.svix.com/retention
)

// NewSvix makes a polling endpoint without messages, for a client that keeps its position.
func NewSvix(o Options) *Svix {
	s := &Svix{
		app: "app_" + strings.TrimPrefix(objectID(o.Seed, "app", 0), "app_"), sink: "poll_" + objectID(o.Seed, "s", 0)[2:5],
		token: o.APIKey, consumers: map[string]uint64{},
	}
	s.init(s, o, svixLimit, svixRetain)
	s.list.arrival = true
	if s.token == "" {
		s.token = "sk_poll_" + strings.TrimPrefix(objectID(o.Seed, "poll", 0), "poll_") + ".eu"
	}
	return s
}

// NewSvixConsumer makes a polling endpoint without messages, for a client that has its position kept.
func NewSvixConsumer(o Options) *Svix {
	s := NewSvix(o)
	s.consumer = "tidings"
	return s
}

// With returns the parameters of the preset svix, or svix-consumer, that reach this endpoint at base.
func (s *Svix) With(base string) map[string]string {
	with := map[string]string{"app_id": s.app, "sink_id": s.sink, "token": s.token, "base_url": base}
	if s.consumer != "" {
		with["consumer_id"] = s.consumer
	}
	return with
}

func (s *Svix) serve(w http.ResponseWriter, r *http.Request) {
	root := "/api/v1/app/" + s.app + "/poller/" + s.sink
	rest, ours := strings.CutPrefix(r.URL.Path, root)
	consumer, named := strings.CutPrefix(rest, "/consumer/")
	consumer, seek := strings.CutSuffix(consumer, "/seek")
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !s.allowed(w, token == s.token, "authentication_failed", "Invalid token"):
	case !ours || rest != "" && (!named || consumer == "" || strings.Contains(consumer, "/")):
		s.refuse(w, http.StatusNotFound, "not_found", "Entity not found")
	case named && seek && r.Method == http.MethodPost:
		s.seek(w, r, consumer)
	case seek || r.Method != http.MethodGet:
		s.refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed")
	default:
		s.serveList(w, r, consumer)
	}
}

func (s *Svix) refuse(w http.ResponseWriter, status int, code, message string) {
	writeError(w, status, object{{"code", code}, {"detail", message}})
}

// invalid answers 422, whose detail is a list.
func (s *Svix) invalid(w http.ResponseWriter, where, field, message string) {
	writeError(w, http.StatusUnprocessableEntity, object{{"detail", []any{
		object{{"loc", []any{where, field}}, {"msg", message}, {"type", "value_error"}},
	}}})
}

// svixQuery is what a polling endpoint is asked for.
type svixQuery struct {
	limit    int
	iterator string
	after    time.Time
	types    []string
	channel  string
}

// parseSvixQuery returns the query, or the field that is wrong.
func parseSvixQuery(values url.Values) (q svixQuery, wrong string) {
	q = svixQuery{limit: svixDefaultLimit, iterator: values.Get("iterator"), types: values["event_type"], channel: values.Get("channel")}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > svixLimit {
			return q, "limit"
		}
		q.limit = n
	}
	if text := values.Get("after"); text != "" {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return q, "after"
		}
		q.after = t
	}
	return q, ""
}

func (q *svixQuery) wants(e *entry) bool {
	return (len(q.types) == 0 || slices.Contains(q.types, e.Type)) && (q.channel == "" || slices.Contains(e.objects, q.channel))
}

func (s *Svix) serveList(w http.ResponseWriter, r *http.Request, consumer string) {
	q, wrong := parseSvixQuery(r.URL.Query())
	if wrong != "" {
		s.invalid(w, "query", wrong, "the value is not valid")
		return
	}
	page, next, done, ok := s.poll(q, consumer)
	if !ok {
		s.refuse(w, http.StatusBadRequest, "invalid_iterator", "The iterator is invalid")
		return
	}
	body := append(newBody(page), `{"data":[`...)
	s.send(w, fmt.Appendf(appendItems(body, page), `],"iterator":%q,"done":%t}`, next, done))
}

// poll finds the page that an iterator or a consumer stands before; ok is false when the iterator is not, or no longer, valid.
func (s *Svix) poll(q svixQuery, consumer string) (page []*entry, next string, done, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	floor := s.floor()
	if q.iterator != "" && s.strikes(&s.faults.Lost, "lost") {
		s.epoch++
	}
	at := s.consumers[consumer] // 0: the beginning
	switch {
	case q.iterator != "":
		it, valid := parseIterator(q.iterator)
		if !valid || it.Epoch != s.epoch || it.Offset > s.seq || it.Offset > 0 && s.entryAfter(it.Offset) < floor {
			return nil, "", false, false
		}
		at = it.Offset
		if !it.After.IsZero() {
			at = s.offsetOf(it.After)
		}
		if consumer != "" {
			s.consumers[consumer] = at
		}
	case consumer == "":
		s.stats.Pages++
		return nil, iterator{Epoch: s.epoch, After: q.after}.String(), false, true
	}
	from := max(s.entryAfter(at), floor)
	page, next, done = s.pageFrom(q, from, at)
	return page, next, done, true
}

// pageFrom returns the page that begins at index from, the iterator behind it, and whether it is the last one. s.mu is held.
func (s *Svix) pageFrom(q svixQuery, from int, at uint64) (page []*entry, next string, done bool) {
	limit := min(q.limit, s.largest)
	again := 0
	if from > 0 && limit > 2 && s.strikes(&s.faults.Repeat, "repeat") {
		again = min(2, from)
	}
	i := from - again
	for ; i < len(s.list.entries) && len(page) < limit; i++ {
		if q.wants(s.list.entries[i]) {
			page = append(page, s.list.entries[i])
		}
	}
	if i > 0 {
		at = max(at, s.list.entries[i-1].seq)
	}
	done = i == len(s.list.entries)
	if len(page) > 0 && s.strikes(&s.faults.Loop, "loop") { // the same page comes again next time
		at = 0
		if from > 0 {
			at = s.list.entries[from-1].seq
		}
		done = false
	}
	shown, ended := s.muddle(page)
	if ended { // and the messages come later
		at = 0
		if from > 0 {
			at = s.list.entries[from-1].seq
		}
	}
	return shown, iterator{Epoch: s.epoch, Offset: at}.String(), done || ended
}

// entryAfter returns the index of the first message behind this offset. s.mu is held.
func (s *Svix) entryAfter(offset uint64) int {
	i, _ := slices.BinarySearchFunc(s.list.entries, offset+1, func(e *entry, seq uint64) int {
		if e.seq < seq {
			return -1
		}
		return 1
	})
	return i
}

// offsetOf returns the offset before the first message that is younger than t and still there. s.mu is held.
func (s *Svix) offsetOf(t time.Time) uint64 {
	for _, e := range s.list.entries[s.floor():] {
		if e.Time.After(t) {
			return e.seq - 1
		}
	}
	return s.seq
}
