package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Nectar is a simulated Nectar account, which has no event list: GET /v2.2/company, .../connection/company/{id},
// .../document/company/{id} and .../document/connection/{id}, as https://docs.nectarclimate.com describes them. What happens
// are the vendor's webhook types: connections and documents are created and updated. A connection's times also change when nothing
// has happened that a webhook would tell.
//
// Pages have numbers; one behind the end is answered with the last page again. Documents can be filtered by UPDATED_DATE and
// CREATED_DATE, whose bounds are days in UTC, truncated to their start. Times have nanoseconds and no zone. Neither list says how it
// is ordered: here connections come by their age, youngest first, documents by their last change, latest first.
type Nectar struct {
	account
	key         string
	companies   []nectarCompany
	connections []*nectarResource // oldest first
	documents   []*nectarResource
}

type nectarCompany struct{ id, name string }

// nectarResource is a connection or a document as it is now.
type nectarResource struct {
	id         string
	company    nectarCompany
	connection string // of a document
	born       time.Time
	updated    time.Time
	look       style
	fixed      []string // of a connection: when its status was first seen, the status, its detail, the source
	newest     *entry
}

// Limits of the lists (https://docs.nectarclimate.com/developer-guide/pagination).
const (
	nectarPage        = 100
	nectarConnections = 500 // the most that `limit` takes, for connections only
)

// NewNectar makes an account of three companies that have nothing yet.
func NewNectar(o Options) *Nectar {
	n := &Nectar{key: o.APIKey}
	n.init(n, o, nectarPage, 0)
	n.resources = true
	if n.key == "" {
		n.key = strings.TrimPrefix(objectID(o.Seed, "nectar", 0), "nectar_")
	}
	for i := range 3 {
		n.companies = append(n.companies, nectarCompany{uuid(o.Seed, "company", i), names[i]})
	}
	return n
}

// With returns the parameters of the preset nectar that reach this account at base.
func (n *Nectar) With(base string) map[string]string {
	return map[string]string{"api_key": n.key, "base_url": base + "/v2.2"}
}

// Key finds what happened by the resource's id and the time that changes with each thing that happens to it.
func (n *Nectar) Key(_ string, body []byte) (string, error) {
	var resource struct{ ID, Updated, StatusFirstSeenTime string }
	if err := json.Unmarshal(body, &resource); err != nil {
		return "", fmt.Errorf("a body is no JSON object: %w", err)
	}
	if resource.StatusFirstSeenTime != "" {
		return resource.ID + "@" + resource.StatusFirstSeenTime, nil
	}
	return resource.ID + "@" + resource.Updated, nil
}

func (n *Nectar) serve(w http.ResponseWriter, r *http.Request) {
	path, ours := strings.CutPrefix(r.URL.Path, "/v2.2")
	company, connections := strings.CutPrefix(path, "/connection/company/")
	of, documents := strings.CutPrefix(path, "/document/company/")
	if connection, ok := strings.CutPrefix(path, "/document/connection/"); ok {
		of, documents = connection, true
	}
	switch {
	case !n.allowed(w, r.Header.Get("X-API-Key") == n.key, "", "Invalid API key"):
	case r.Method != http.MethodGet:
		n.refuse(w, http.StatusMethodNotAllowed, "", "Method not allowed")
	case !ours:
		n.refuse(w, http.StatusNotFound, "", "Not found.")
	case path == "/ping":
		n.send(w, []byte(`{"status":"ok"}`))
	case path == "/company":
		n.serveCompanies(w)
	case connections:
		n.serveConnections(w, r, company)
	case documents:
		n.serveDocuments(w, r, of)
	default:
		n.refuse(w, http.StatusNotFound, "", "Not found.")
	}
}

func (n *Nectar) refuse(w http.ResponseWriter, status int, _, message string) {
	writeError(w, status, object{{"detail", message}})
}

// serveCompanies serves GET /company, an array that has no pages.
func (n *Nectar) serveCompanies(w http.ResponseWriter) {
	all := []any{}
	for _, c := range n.companies {
		all = append(all, object{{"id", c.id}, {"name", c.name}, {"externalId", nil}, {"sites", []any{}}})
	}
	n.send(w, styles[0].append(nil, all, 0))
}

// nectarQuery is what a list is asked for.
type nectarQuery struct {
	page, limit int
	dateType    string
	start, end  time.Time // zero: open
}

// parseNectarQuery returns the query, or what is wrong with it.
func parseNectarQuery(values url.Values, most int) (q nectarQuery, wrong string) {
	q = nectarQuery{page: 1, limit: nectarPage, dateType: "BILL_DATE"}
	for name, to := range map[string]*int{"page": &q.page, "limit": &q.limit} {
		text := values.Get(name)
		if text == "" || name == "limit" && most == nectarPage {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || name == "limit" && n > most {
			return q, name + " is not valid"
		}
		*to = n
	}
	if text := values.Get("dateType"); text != "" {
		if !slices.Contains([]string{"USAGE_PERIOD", "BILL_DATE", "CREATED_DATE", "UPDATED_DATE"}, text) {
			return q, "dateType is not valid"
		}
		q.dateType = text
	}
	for name, to := range map[string]*time.Time{"startDate": &q.start, "endDate": &q.end} {
		if text := values.Get(name); text != "" {
			day, err := time.Parse(time.DateOnly, text)
			if err != nil {
				return q, name + " is not in YYYY-MM-DD format"
			}
			*to = day
		}
	}
	return q, ""
}

// wants says whether a document is within the dates. "For data before January 31, 2024, use endDate=2024-01-31": what changed on the
// day of endDate is not.
func (q *nectarQuery) wants(d *nectarResource) bool {
	at := d.updated
	if q.dateType != "UPDATED_DATE" {
		at = d.born
	}
	return (q.start.IsZero() || !at.Before(q.start)) && (q.end.IsZero() || !at.After(q.end))
}

func (n *Nectar) serveConnections(w http.ResponseWriter, r *http.Request, company string) {
	q, wrong := parseNectarQuery(r.URL.Query(), nectarConnections)
	if wrong != "" {
		n.refuse(w, http.StatusBadRequest, "", wrong)
		return
	}
	n.mu.Lock()
	var all []*entry
	for _, c := range slices.Backward(n.connections) {
		if c.company.id == company {
			all = append(all, c.newest)
		}
	}
	body := n.envelope(q, all, q.limit, "Connections")
	n.mu.Unlock()
	n.send(w, body)
}

func (n *Nectar) serveDocuments(w http.ResponseWriter, r *http.Request, of string) {
	q, wrong := parseNectarQuery(r.URL.Query(), nectarPage)
	if wrong != "" {
		n.refuse(w, http.StatusBadRequest, "", wrong)
		return
	}
	n.mu.Lock()
	var found []*nectarResource
	for _, d := range n.documents {
		if (d.company.id == of || d.connection == of) && q.wants(d) {
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, func(a, b *nectarResource) int { return b.updated.Compare(a.updated) })
	var all []*entry
	for _, d := range found {
		all = append(all, d.newest)
	}
	body := n.envelope(q, all, n.largest, "Documents")
	n.mu.Unlock()
	n.send(w, body)
}

// envelope writes a page. n.mu is held.
func (n *Nectar) envelope(q nectarQuery, all []*entry, size int, name string) []byte {
	pages := max(1, (len(all)+size-1)/size)
	current := min(q.page, pages)
	page, more := n.numbered(all, current, size)
	body := fmt.Appendf(newBody(page),
		`{"total%s":%d,"perPage":%d,"totalPages":%d,"currentPage":%d,"hasNext":%t,"hasPrevious":%t,"%s":[`,
		name, len(all), size, pages, current, more, current > 1, strings.ToLower(name))
	return append(appendItems(body, page), "]}"...)
}
