package simulator

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// ReceiverOptions is how a Receiver answers. The zero value takes everything.
type ReceiverOptions struct {
	Seed   uint64
	Refuse float64       // share of requests that are answered with 503, 0 to 1
	Slow   time.Duration // each answer is held back for so long
	Bodies bool          // keep each event's first accepted body
}

// Receiver is an HTTP endpoint for deliveries that counts what it accepts, by event id: the header tidings-event-id, else
// webhook-id. What it refuses it answers with 503 and does not count as received. GET /_simulator/received lists what it
// accepted, as JSON lines in the order of the first acceptance.
type Receiver struct {
	o ReceiverOptions

	mu      sync.Mutex // guards what follows; never held while a client is served
	r       *rand.Rand
	down    bool
	refused map[string]bool // ids that are refused
	index   map[string]int  // id -> its place in order
	order   []Received
	stats   ReceiverStats
}

// Received is an event that was accepted.
type Received struct {
	ID    string `json:"id"`
	Count int    `json:"count"` // acceptances; more than 1 is a repeated delivery
	Body  []byte `json:"-"`     // of the first, if ReceiverOptions.Bodies
}

// ReceiverStats counts requests.
type ReceiverStats struct {
	Requests int `json:"requests"`
	Accepted int `json:"accepted"`
	Repeated int `json:"repeated"` // of these, for an id that was accepted before
	Refused  int `json:"refused"`
}

// NewReceiver makes a receiver that has received nothing.
func NewReceiver(o ReceiverOptions) *Receiver {
	return &Receiver{
		o: o, r: rand.New(rand.NewPCG(o.Seed, 3)), refused: map[string]bool{}, index: map[string]int{},
	}
}

// SetDown makes the receiver refuse everything, or no longer.
func (c *Receiver) SetDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// RefuseIDs makes the receiver refuse these events, and no others, until it is called again.
func (c *Receiver) RefuseIDs(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.refused)
	for _, id := range ids {
		c.refused[id] = true
	}
}

// Received returns what was accepted, in the order of the first acceptance.
func (c *Receiver) Received() []Received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.order)
}

// Stats returns the counts up to now.
func (c *Receiver) Stats() ReceiverStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

const maxDelivery = 64 << 20 // bytes of a body

// ServeHTTP takes a delivery, at any path but those under /_simulator/.
func (c *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == controlPrefix+"received" {
		writeLines(w, c.Received())
		return
	}
	id := deliveredID(r.Header)
	if r.Method != http.MethodPost || id == "" {
		http.Error(w, "deliveries are POST requests with a tidings-event-id or a webhook-id", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
	if err != nil {
		http.Error(w, "the body can't be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	if !wait(r.Context(), c.o.Slow) {
		return
	}
	if !c.take(id, body) {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// take accepts or refuses a delivery.
func (c *Receiver) take(id string, body []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Requests++
	if c.down || c.refused[id] || c.o.Refuse > 0 && c.r.Float64() < c.o.Refuse {
		c.stats.Refused++
		return false
	}
	c.stats.Accepted++
	if i, again := c.index[id]; again {
		c.stats.Repeated++
		c.order[i].Count++
		return true
	}
	c.index[id] = len(c.order)
	if !c.o.Bodies {
		body = nil
	}
	c.order = append(c.order, Received{ID: id, Count: 1, Body: body})
	return true
}

// deliveredID returns the event's id; in tidings-event-id it is percent-encoded where a header needs that.
func deliveredID(h http.Header) string {
	text := h.Get("tidings-event-id")
	if text == "" {
		return h.Get("webhook-id")
	}
	if id, err := url.PathUnescape(text); err == nil {
		return id
	}
	return text
}
