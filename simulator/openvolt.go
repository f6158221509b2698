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

// Openvolt is a simulated Openvolt account, which has no event list: GET /v1/meters, /v1/customers and /v1/consents, by page and page_size
// and without a total, and GET /v1/interval-data, which has no pages, as https://github.com/openvolt/openapi and
// https://docs.openvolt.com describe them. What happens are the vendor's webhook types that these lists show: customers and
// meters are created, consents approved and revoked (then they are listed no more), and half hours of consumption arrive: new
// ones, gaps that are filled in, and corrections of what was there. A meter's last_data_pull_date changes with some of them.
type Openvolt struct {
	account
	key       string
	customers []*entry
	consents  []*entry
	meters    []*openvoltMeter
}

// openvoltMeter is a meter and its half hours.
type openvoltMeter struct {
	id, number, customer string
	look                 style
	created              *entry
	slots                map[int64]*entry // by the epoch second at which they begin
}

const openvoltDefaultPage = 20

// NewOpenvolt makes an account that has nothing yet.
func NewOpenvolt(o Options) *Openvolt {
	v := &Openvolt{key: o.APIKey}
	v.init(v, o, 1000, 0)
	v.resources = true
	if v.key == "" {
		v.key = strings.TrimPrefix(objectID(o.Seed, "openvolt", 0), "openvolt_")
	}
	return v
}

// With returns the parameters of the preset openvolt that reach this account at base.
func (v *Openvolt) With(base string) map[string]string {
	return map[string]string{"api_key": v.key, "base_url": base + "/v1"}
}

// Key finds what happened in the vendor's envelope, whose payload is a resource or an array of one
// (https://docs.openvolt.com/docs/event-types: event_id holds the type). Of a consent that is no more the payload need not tell
// anything: it is found by its id, wherever that stands.
func (v *Openvolt) Key(id string, body []byte) (string, error) {
	var envelope struct {
		Type    string `json:"event_id"`
		Payload json.RawMessage
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return "", fmt.Errorf("a body is no JSON object: %w", err)
	}
	if envelope.Type == "hosted_consent.revoked" {
		for _, f := range v.Facts() {
			if f.Type == envelope.Type && strings.Contains(id+string(body), f.Resource) {
				return f.Key, nil
			}
		}
		return "", fmt.Errorf("%s tells of none of the revoked consents", id)
	}
	type resource struct {
		ID          string `json:"_id"`
		Meter       string `json:"meter_id"`
		Start       string `json:"start_interval"`
		Consumption json.Number
	}
	var all []resource
	if json.Unmarshal(envelope.Payload, &all) != nil {
		var one resource
		if err := json.Unmarshal(envelope.Payload, &one); err != nil {
			return "", fmt.Errorf("a payload is no resource: %w", err)
		}
		all = []resource{one}
	}
	if len(all) != 1 {
		return "", fmt.Errorf("a payload has %d resources, and stands for one", len(all))
	}
	if one := all[0]; one.ID == "" {
		return openvoltSlotKey(one.Meter, one.Start, one.Consumption.String()), nil
	}
	return envelope.Type + " " + all[0].ID, nil
}

func openvoltSlotKey(meter, start, consumption string) string {
	return "meter_data.received " + meter + "@" + start + "=" + consumption
}

func (v *Openvolt) serve(w http.ResponseWriter, r *http.Request) {
	path, ours := strings.CutPrefix(r.URL.Path, "/v1")
	switch {
	case !v.allowed(w, r.Header.Get("x-api-key") == v.key, "unauthorized", "Invalid API key"):
	case r.Method != http.MethodGet:
		v.refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed")
	case !ours:
		v.refuse(w, http.StatusNotFound, "not_found", "Not found")
	case path == "/interval-data":
		v.serveIntervals(w, r)
	case path == "/meters" || path == "/customers" || path == "/consents":
		v.serveList(w, r, path)
	default:
		v.refuse(w, http.StatusNotFound, "not_found", "Not found")
	}
}

// refuse answers with an error object, whose form is not documented.
func (v *Openvolt) refuse(w http.ResponseWriter, status int, code, message string) {
	writeError(w, status, object{{"statusCode", status}, {"error", code}, {"message", message}})
}

// serveList serves what has pages: oldest first, and nothing says how many there are.
func (v *Openvolt) serveList(w http.ResponseWriter, r *http.Request, path string) {
	number, size := 1, openvoltDefaultPage
	for name, to := range map[string]*int{"page": &number, "page_size": &size} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1_000_000 {
			v.refuse(w, http.StatusBadRequest, "bad_request", name+" is not valid")
			return
		}
		*to = n
	}
	customer := r.URL.Query().Get("customer_id")
	v.mu.Lock()
	var all []*entry
	switch path {
	case "/customers":
		all = v.customers
	case "/consents":
		all = v.consents
	case "/meters":
		for _, m := range v.meters {
			if customer == "" || m.customer == customer {
				all = append(all, m.created)
			}
		}
	}
	page, _ := v.numbered(all, number, min(size, v.largest))
	body := append(appendItems(append(newBody(page), `{"data":[`...), page), "]}"...)
	v.mu.Unlock()
	v.send(w, body)
}

// intervalQuery is what GET /interval-data is asked for.
type intervalQuery struct {
	meter, number, customer string
	start, end              time.Time // [start, end)
}

// parseIntervalQuery returns the query, or what is wrong with it. Dates are days or times; end_date is exclusive.
func parseIntervalQuery(values url.Values, now time.Time) (q intervalQuery, wrong string) {
	q = intervalQuery{
		meter: values.Get("meter_id"), number: values.Get("meter_number"), customer: values.Get("customer_id"),
		start: now.AddDate(0, 0, -1), end: now,
	}
	if q.meter == "" && q.number == "" && q.customer == "" {
		return q, "one of meter_id, meter_number and customer_id is required"
	}
	if g := values.Get("granularity"); g != "" && g != "hh" {
		return q, "granularity: only hh is simulated"
	}
	if text := values.Get("lookback"); text != "" {
		start, ok := lookBack(text, now)
		if !ok {
			return q, "lookback is not a number followed by d, w, m or y"
		}
		q.start = start
	}
	for name, to := range map[string]*time.Time{"start_date": &q.start, "end_date": &q.end} {
		if text := values.Get(name); text != "" {
			t, ok := parseDay(text)
			if !ok {
				return q, name + " is not a date"
			}
			*to = t
		}
	}
	return q, ""
}

// lookBack reads "1d", "1w", "3m" or "1y" before now.
func lookBack(text string, now time.Time) (start time.Time, ok bool) {
	n, err := strconv.Atoi(text[:len(text)-1])
	if err != nil || n < 1 || n > 1000 {
		return time.Time{}, false
	}
	switch text[len(text)-1] {
	case 'd':
		return now.AddDate(0, 0, -n), true
	case 'w':
		return now.AddDate(0, 0, -7*n), true
	case 'm':
		return now.AddDate(0, -n, 0), true
	case 'y':
		return now.AddDate(-n, 0, 0), true
	}
	return time.Time{}, false
}

// parseDay reads a day, without leading zeros too as the vendor's examples have it, or a time.
func parseDay(text string) (t time.Time, ok bool) {
	for _, layout := range []string{"2006-1-2", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func (v *Openvolt) serveIntervals(w http.ResponseWriter, r *http.Request) {
	q, wrong := parseIntervalQuery(r.URL.Query(), v.now())
	if wrong != "" {
		v.refuse(w, http.StatusBadRequest, "bad_request", wrong)
		return
	}
	v.mu.Lock()
	var all []*entry
	for _, m := range v.meters {
		if q.meter != "" && m.id != q.meter || q.number != "" && m.number != q.number || q.customer != "" && m.customer != q.customer {
			continue
		}
		var starts []int64
		for start := range m.slots {
			if start >= q.start.Unix() && start < q.end.Unix() {
				starts = append(starts, start)
			}
		}
		slices.Sort(starts)
		for _, start := range starts {
			all = append(all, m.slots[start])
		}
	}
	page, _ := v.muddle(all)
	body := fmt.Appendf(newBody(page), `{"start_interval":%q,"end_interval":%q,"granularity":"hh","data":[`,
		openvoltStamp(q.start), openvoltStamp(q.end))
	body = append(appendItems(body, page), "]}"...)
	v.mu.Unlock()
	v.send(w, body)
}
