package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Limits of GET /events, as documented.
const (
	maxLimit     = 100
	defaultLimit = 30
)

// listQuery is what GET /events is asked for (https://docs.flatpeak.com/api-reference/events/list-all-events).
type listQuery struct {
	limit         int
	after, before string
	eventType     string
	objectID      string
}

// parseListQuery returns the query, or the code and the message of a 400.
func parseListQuery(values url.Values) (q listQuery, code, message string) {
	q = listQuery{limit: defaultLimit, after: values.Get("starting_after"), before: values.Get("ending_before"),
		eventType: values.Get("event_type"), objectID: values.Get("object_id")}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			return q, "limit_invalid", fmt.Sprintf("Limit must be a number from 1 to %d", maxLimit)
		}
		q.limit = n
	}
	if q.after != "" && q.before != "" {
		return q, "cursor_invalid", "Starting_after and ending_before exclude each other"
	}
	return q, "", ""
}

func (q *listQuery) wants(e *entry) bool {
	return (q.eventType == "" || e.Type == q.eventType) && (q.objectID == "" || slices.Contains(e.objects, q.objectID))
}

// serveList serves GET /events: newest first, whichever way the cursor goes.
func (f *Flatpeak) serveList(w http.ResponseWriter, r *http.Request) {
	q, code, message := parseListQuery(r.URL.Query())
	if code != "" {
		f.refuse(w, http.StatusBadRequest, code, message)
		return
	}
	q.limit = min(q.limit, f.largest)
	page, more, ok := f.page(q)
	if !ok {
		f.refuse(w, http.StatusNotFound, "event_not_found", "No such event: "+q.after+q.before)
		return
	}
	body := fmt.Appendf(newBody(page), `{"object":"list","url":"/events","has_more":%t,"data":[`, more)
	f.send(w, append(appendItems(body, page), "]}"...))
}

func (f *Flatpeak) page(q listQuery) (page []*entry, more, ok bool) {
	return f.newestFirst(cursorQuery{q.limit, q.after, q.before, q.wants})
}

// serveOne serves GET /events/{id}.
func (f *Flatpeak) serveOne(w http.ResponseWriter, _ *http.Request, id string) {
	if raw, ok := f.find(id); ok {
		f.send(w, raw)
		return
	}
	f.refuse(w, http.StatusNotFound, "event_not_found", "No such event: "+id)
}
