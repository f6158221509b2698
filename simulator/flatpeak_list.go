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
	q.limit = min(q.limit, f.pageSize)
	page, more, ok := f.page(q)
	if !ok {
		f.refuse(w, http.StatusNotFound, "event_not_found", "No such event: "+q.after+q.before)
		return
	}
	size := 64
	for _, e := range page {
		size += len(e.Raw) + 1
	}
	body := fmt.Appendf(make([]byte, 0, size), `{"object":"list","url":"/events","has_more":%t,"data":[`, more)
	for i, e := range page {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, e.Raw...)
	}
	f.send(w, append(body, "]}"...))
}

// page finds the events of a page, with the faults that concern lists; ok is false when the cursor is unknown.
func (f *Flatpeak) page(q listQuery) (page []*entry, more, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries := f.list.entries
	floor := 0
	if f.faults.Keep > 0 {
		floor = max(0, len(entries)-f.faults.Keep)
	}
	from := len(entries)
	if cursor := q.after + q.before; cursor != "" {
		if from, ok = f.list.index(cursor); !ok || from < floor {
			return nil, false, false
		}
	}
	switch {
	case q.before != "":
		page, more = f.list.newer(from, q.limit, q.wants)
	case q.after != "" && f.strikes(&f.faults.Loop, "loop"):
		page, more = f.list.newer(from, q.limit-1, q.wants)
		page, more = append(page, entries[from]), true
	case q.after != "" && q.limit > 1 && f.strikes(&f.faults.Repeat, "repeat"):
		again, _ := f.list.newer(from, min(2, q.limit-2), q.wants)
		again = append(again, entries[from])
		page, more = f.list.older(from, floor, q.limit-len(again), q.wants)
		page = append(again, page...)
	default:
		page, more = f.list.older(from, floor, q.limit, q.wants)
	}
	if len(page) > 0 && f.strikes(&f.faults.Twice, "twice") {
		i := f.requests.IntN(len(page))
		page = slices.Insert(page, min(i+1+f.requests.IntN(4), max(i+1, len(page)-1)), page[i])
	}
	if len(page) > 0 && f.strikes(&f.faults.EmptyEnd, "end") {
		page, more = nil, false
	}
	f.stats.Pages++
	f.stats.Listed += len(page)
	return page, more, true
}

// serveOne serves GET /events/{id}.
func (f *Flatpeak) serveOne(w http.ResponseWriter, _ *http.Request, id string) {
	f.mu.Lock()
	i, ok := f.list.index(id)
	var raw []byte
	if ok = ok && (f.faults.Keep == 0 || i >= len(f.list.entries)-f.faults.Keep); ok {
		raw = f.list.entries[i].Raw
		f.stats.Retrieved++
	}
	f.mu.Unlock()
	if !ok {
		f.refuse(w, http.StatusNotFound, "event_not_found", "No such event: "+id)
		return
	}
	f.send(w, raw)
}

// send answers 200 with a JSON body, cut off if that fault strikes: net/http closes a connection whose answer is shorter
// than its Content-Length.
func (f *Flatpeak) send(w http.ResponseWriter, body []byte) {
	f.mu.Lock()
	cut := f.strikes(&f.faults.CutBody, "cut")
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if cut {
		body = body[:len(body)/2]
	}
	_, _ = w.Write(body)
}
