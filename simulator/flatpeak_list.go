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

// parseListQuery returns what GET /events is asked for (https://docs.flatpeak.com/api-reference/events/list-all-events), or the code and
// the message of a 400.
func parseListQuery(values url.Values) (q cursorQuery, code, message string) {
	eventType, objectID := values.Get("event_type"), values.Get("object_id")
	q = cursorQuery{
		limit: defaultLimit, after: values.Get("starting_after"), before: values.Get("ending_before"),
		wants: func(e *entry) bool {
			return (eventType == "" || e.Type == eventType) && (objectID == "" || slices.Contains(e.objects, objectID))
		},
	}
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

// serveList serves GET /events: newest first, whichever way the cursor goes.
func (f *Flatpeak) serveList(w http.ResponseWriter, r *http.Request) {
	q, code, message := parseListQuery(r.URL.Query())
	if code != "" {
		f.refuse(w, http.StatusBadRequest, code, message)
		return
	}
	q.limit = min(q.limit, f.largest)
	page, more, ok := f.newestFirst(q)
	if !ok {
		f.refuse(w, http.StatusNotFound, "event_not_found", "No such event: "+q.after+q.before)
		return
	}
	body := fmt.Appendf(newBody(page), `{"object":"list","url":"/events","has_more":%t,"data":[`, more)
	f.send(w, append(appendItems(body, page), "]}"...))
}

// serveOne serves GET /events/{id}.
func (f *Flatpeak) serveOne(w http.ResponseWriter, _ *http.Request, id string) {
	if raw, ok := f.find(id); ok {
		f.send(w, raw)
		return
	}
	f.refuse(w, http.StatusNotFound, "event_not_found", "No such event: "+id)
}
