package simulator

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"time"
)

// API is a simulated account of any vendor.
type API interface {
	http.Handler

	// Add lets n random things happen now, and returns what there is to tell of them, oldest first.
	Add(n int) []Event
	// AddAt lets a thing of each of these types happen at t; an empty type is a random one.
	AddAt(t time.Time, types ...string) []Event
	// AddLate lets one thing become visible now that happened d ago.
	AddLate(d time.Duration) Event
	// Backfill lets n random things have happened at random moments of the time before now.
	Backfill(n int, over time.Duration)
	// Run lets things happen at random moments, rate a second on average, until ctx ends.
	Run(ctx context.Context, rate float64) error

	SetFaults(Faults)
	Faults() Faults
	Stats() Stats

	// Facts returns all that happened, in the order in which the API would list it, oldest first.
	Facts() []Fact
	// Key returns the Fact.Key of an event that was made of this API: of its id and its body.
	Key(id string, body []byte) (string, error)
	// With returns the parameters of the vendor's preset that reach this account at base, the address of its root.
	With(base string) map[string]string
}

// Fact is what really happened, for a judge of what was delivered.
type Fact struct {
	Event
	Key string `json:"key"` // tells this fact from all others, and is found in a delivered event by API.Key
	// Body is the body of the vendor's webhook, byte for byte; for an API without an event list the resource in it, empty where it is
	// no more.
	Body     []byte `json:"-"`
	Resource string `json:"resource,omitempty"` // of an API without an event list: the id of what has changed
	// Gone says that the API does not list it any more, or did not at some time: its retention, Faults.Keep, or a newer version of
	// the resource. Whoever asked too late could not see it. That a resource is no more can be told by those only who saw that it was.
	Gone  bool `json:"gone"`
	Acked bool `json:"acked"` // the client said that it has taken it in

	shown [][]byte // the resource as it was listed otherwise, though nothing had happened to it
}

// Holds reports whether a delivered body is the one that tells this fact: Body itself or, for an API without an event list, one that
// holds the members of a resource byte for byte as they were listed.
func (f *Fact) Holds(body []byte) bool {
	if f.Resource == "" {
		return bytes.Equal(body, f.Body)
	}
	if len(f.Body) == 0 {
		return bytes.Contains(body, []byte(f.Resource))
	}
	return slices.ContainsFunc(append([][]byte{f.Body}, f.shown...), func(item []byte) bool {
		return bytes.Contains(body, bytes.TrimSpace(item[1:len(item)-1]))
	})
}

// Simulated is an API that can be simulated.
type Simulated struct {
	Name  string // of the preset that polls it
	About string // what it is, such as "Flatpeak account"
	New   func(Options) API
}

// APIs lists the simulated APIs, sorted by name.
func APIs() []Simulated {
	return []Simulated{
		{"flatpeak", "Flatpeak account", func(o Options) API { return NewFlatpeak(o) }},
		{"github", "GitHub repository", func(o Options) API { return NewGitHub(o) }},
		{"nectar", "Nectar account", func(o Options) API { return NewNectar(o) }},
		{"openvolt", "Openvolt account", func(o Options) API { return NewOpenvolt(o) }},
		{"stripe", "Stripe account", func(o Options) API { return NewStripe(o) }},
		{"svix", "Svix polling endpoint", func(o Options) API { return NewSvix(o) }},
		{"svix-consumer", "Svix polling endpoint that keeps its consumers' positions", func(o Options) API { return NewSvixConsumer(o) }},
		{"utilityapi", "UtilityAPI account", func(o Options) API { return NewUtilityAPI(o) }},
	}
}

// Facts returns all that happened, in the order in which the API would list it, oldest first.
func (a *account) Facts() []Fact {
	a.mu.Lock()
	defer a.mu.Unlock()
	floor := a.floor()
	facts := make([]Fact, len(a.list.entries))
	for i, e := range a.list.entries {
		facts[i] = Fact{
			Event: e.Event, Key: e.key, Body: e.body, Resource: e.resource, Gone: e.gone || i < floor, Acked: e.acked,
		}
		if e.key == "" {
			facts[i].Key = e.ID
		}
		if e.body == nil {
			facts[i].Body = e.Raw
		}
		if a.resources && e.shown != nil {
			facts[i].shown = append(slices.Clone(e.earlier), e.shown)
		}
	}
	return facts
}

// Events returns all events, those behind Faults.Keep too, newest first.
func (a *account) Events() []Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := events(a.list.entries)
	slices.Reverse(all)
	return all
}

// Key returns the id: where there is an event list, an event is known by it.
func (a *account) Key(id string, _ []byte) (string, error) { return id, nil }
