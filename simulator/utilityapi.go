package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// UtilityAPI is a simulated UtilityAPI account's events, as https://utilityapi.com/docs/api/events describes them: GET /api/v2/events,
// "reverse ordered by timestamp", 1000 a page and the address of the next one or null; GET and PATCH /api/v2/events/{uid}, which
// says {"is_delivered": true} of an event that was taken in. The bodies of 429 and 5xx are HTML, JSON or nothing.
//
// The form of its error objects is not documented; here they have a code and a message.
type UtilityAPI struct {
	account
	token string
}

const utilityAPILimit = 1000

// NewUtilityAPI makes an account without events.
func NewUtilityAPI(o Options) *UtilityAPI {
	u := &UtilityAPI{token: o.APIKey}
	u.init(u, o, utilityAPILimit, 0)
	if u.token == "" {
		u.token = strings.TrimPrefix(objectID(o.Seed, "utilityapi", 0), "utilityapi_")
	}
	return u
}

// With returns the parameters of the preset utilityapi that reach this account at base.
func (u *UtilityAPI) With(base string) map[string]string {
	return map[string]string{"token": u.token, "base_url": base}
}

func (u *UtilityAPI) serve(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	id, one := strings.CutPrefix(r.URL.Path, "/api/v2/events/")
	switch {
	case !u.allowed(w, token == u.token, "unauthorized", "Invalid or missing access_token"):
	case r.URL.Path == "/api/v2/events" && r.Method == http.MethodGet:
		u.serveList(w, r)
	case one && r.Method == http.MethodGet:
		u.serveOne(w, id)
	case one && r.Method == http.MethodPatch:
		u.modify(w, r, id)
	default:
		u.refuse(w, http.StatusNotFound, "not_found", "There is nothing at "+r.URL.Path)
	}
}

// refuse answers with an error object, or for 429 and 5xx as it happens: "do not expect any specific response format for this error
// (could be html, json, or nothing)".
func (u *UtilityAPI) refuse(w http.ResponseWriter, status int, code, message string) {
	form := 0
	if status == http.StatusTooManyRequests || status >= 500 {
		u.mu.Lock()
		form = u.requests.IntN(3)
		u.mu.Unlock()
	}
	switch form {
	case 0:
		writeError(w, status, object{{"errors", []any{object{{"error", code}, {"description", message}}}}})
	case 1:
		writeHTML(w, status)
	case 2:
		w.WriteHeader(status)
	}
}

// parseUtilityAPIQuery returns the query, or the name of the parameter that is wrong.
func parseUtilityAPIQuery(values url.Values) (q cursorQuery, wrong string) {
	q = cursorQuery{after: values.Get("after"), wants: func(*entry) bool { return true }}
	switch text := strings.ToLower(values.Get("is_delivered")); text {
	case "":
	case "true", "false":
		q.wants = func(e *entry) bool { return e.acked == (text == "true") }
	default:
		return q, "is_delivered"
	}
	return q, ""
}

func (u *UtilityAPI) serveList(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	q, wrong := parseUtilityAPIQuery(values)
	if wrong != "" {
		u.refuse(w, http.StatusBadRequest, "invalid_param", wrong+" is not valid")
		return
	}
	q.limit = u.largest
	page, more, ok := u.newestFirst(q)
	if !ok {
		u.refuse(w, http.StatusBadRequest, "invalid_param", "after is not an Event uid")
		return
	}
	u.mu.Lock()
	body := appendItems(append(newBody(page), `{"events":[`...), page)
	u.mu.Unlock()
	next := "null"
	if more && len(page) > 0 {
		values.Set("after", page[len(page)-1].ID)
		next = fmt.Sprintf("%q", selfURL(r, values.Encode()))
	}
	u.send(w, append(append(append(body, `],"next":`...), next...), '}'))
}

func (u *UtilityAPI) serveOne(w http.ResponseWriter, id string) {
	if item, ok := u.find(id); ok {
		u.send(w, item)
		return
	}
	u.refuse(w, http.StatusNotFound, "not_found", "This Event doesn't exist")
}

const maxPatchBody = 64 << 10

// modify serves PATCH /api/v2/events/{uid} (https://utilityapi.com/docs/api/events/modify).
func (u *UtilityAPI) modify(w http.ResponseWriter, r *http.Request, id string) {
	var change struct {
		Delivered *bool `json:"is_delivered"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPatchBody))
	if err != nil || json.Unmarshal(body, &change) != nil {
		u.refuse(w, http.StatusBadRequest, "invalid_param", "The body is not a JSON object")
		return
	}
	u.mu.Lock()
	e, ok := u.list.byID[id]
	if ok && change.Delivered != nil {
		if *change.Delivered && !e.acked {
			u.stats.Acked++
		}
		e.acked, e.shown = *change.Delivered, nil
		if e.acked {
			e.shown = delivered(e.Raw)
		}
	}
	u.mu.Unlock()
	u.serveOne(w, id)
}

// delivered returns the item as it is listed when is_delivered is true: that stands before anything that could read like it.
func delivered(raw []byte) []byte { return bytes.Replace(raw, []byte("false"), []byte("true"), 1) }

// utilityAPITypes are some of https://utilityapi.com/docs/webhooks, and whether each is about a meter.
var utilityAPITypes = []struct {
	name  string
	meter bool
}{
	{"authorization_created", false}, {"authorization_declined", false}, {"authorization_update_started", false},
	{"authorization_update_finished_successful", false}, {"meter_created", true}, {"meter_bills_added", true}, {"meter_bills_added", true},
	{"meter_intervals_added", true}, {"meter_intervals_added", true},
}

// happen makes the next event, at t, to the microsecond.
func (u *UtilityAPI) happen(t time.Time, typ string) []*entry {
	m := u.newMaker(t.Truncate(time.Microsecond))
	about := pick(m.r, utilityAPITypes)
	if typ == "" {
		typ = about.name
		if u.odd(&u.faults.Unknown, "unknown", m.r, usualUnknown) {
			typ = "meter_" + m.word(letters[36:], 8)
		}
	}
	// "These uids may appear as integers, but they are not guaranteed to stay that way."
	id := m.word(digits[1:], 1) + m.word(digits, 11)
	if m.r.IntN(2) == 0 {
		id = m.word(base16, 12)
	}
	item := object{
		{"uid", id}, {"is_delivered", false}, {"type", typ}, {"ts", m.at.Format("2006-01-02T15:04:05.000000+00:00")},
		{"delivery_method", "webhook"}, {"delivery_target", "https://example.com/webhooks?to=" + m.pickText(names)},
		{"authorization_uid", m.word(digits, 6)},
	}
	if about.meter {
		item = append(item, member{"meter_uid", m.word(digits, 7)})
	}
	return []*entry{{Event: Event{ID: id, Type: typ, Time: m.at, Raw: slices.Clip(m.style().append(nil, item, 0))}, seq: u.seq}}
}
