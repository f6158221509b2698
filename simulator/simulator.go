// Package simulator holds the APIs of every preset to try Tidings against, and a receiver that counts what was delivered. A
// simulated API is an http.Handler that behaves as its vendor's documentation says, login and paging included, and misbehaves on
// demand (Faults). Each keeps all that ever happened (API.Facts), so that a test can judge whether all of it arrived, and once.
//
// What is random is drawn from a seed: the same seed and the same calls give the same events, but for their times, and the same
// answers. The clock is time.Now and nothing here starts a goroutine, so a simulator in a testing/synctest bubble follows the
// bubble's time; Transport asks it without sockets. All methods are safe for concurrent use.
//
// What no documentation says is decided, and said where the API is: the form of some error objects, the order of some lists.
package simulator

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Event is one event that a simulated API lists.
type Event struct {
	ID   string    `json:"id"`
	Type string    `json:"type"`
	Time time.Time `json:"time"` // its place in the list, whole seconds in UTC; Raw may leave it out
	Raw  []byte    `json:"-"`    // the item byte for byte as it is listed, the same at each request; not to be changed
}

// Stats counts what a simulated API was asked and what it served.
type Stats struct {
	Events    int            `json:"events"`    // that exist
	Requests  int            `json:"requests"`  // to the vendor's endpoints, whatever came of them
	Logins    int            `json:"logins"`    // that gave a token
	Denied    int            `json:"denied"`    // requests with wrong credentials or a token that is not good
	Pages     int            `json:"pages"`     // of the list, served
	Listed    int            `json:"listed"`    // items on these pages, repeats included
	Retrieved int            `json:"retrieved"` // single events served
	Acked     int            `json:"acked"`     // events that were acknowledged, the first time
	Unchanged int            `json:"unchanged"` // answers 304
	Hasty     int            `json:"hasty"`     // requests that came before a Retry-After had passed
	Early     int            `json:"early"`     // polls that came before the interval had passed that the API asks for
	Faults    map[string]int `json:"faults"`    // served, by name
}

// wait waits for d and reports whether the client is still there.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// writeLines answers with one JSON object a line.
func writeLines[T any](w http.ResponseWriter, lines []T) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for _, line := range lines {
		if enc.Encode(line) != nil {
			return // the client is gone
		}
	}
}
