package sources

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

const (
	maxHold   = time.Minute // that a fetch waits for its turn; a longer wait is the poller's
	shortHold = time.Second // where an API says that it was asked too often, and not for how long
)

// Budgets are what APIs grant: a budget belongs to an origin and a credential, and is shared by all sources that have both. The zero
// value is ready for use, by several goroutines at once.
type Budgets struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]weak.Pointer[budget] // as long as a source uses them
}

// budget says when the next request may be made: by the rate that the recipes set, as a token bucket (GCRA), and by what the API said
// to any of those who share it.
type budget struct {
	mu    sync.Mutex
	every time.Duration // from one request to the next; 0: no rate
	burst int           // requests at once
	due   time.Time     // when the next request is due, were there no burst
	until time.Time     // the API wants no request before
}

// share returns the budget for a key. Where recipes differ, the lower rate counts.
func (b *Budgets) share(key [sha256.Size]byte, l recipe.Limits) *budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	shared := b.all[key].Value()
	if shared == nil {
		maps.DeleteFunc(b.all, func(_ [sha256.Size]byte, p weak.Pointer[budget]) bool { return p.Value() == nil })
		if b.all == nil {
			b.all = map[[sha256.Size]byte]weak.Pointer[budget]{}
		}
		shared = &budget{burst: math.MaxInt32}
		b.all[key] = weak.Make(shared)
	}
	if l.Rate > 0 {
		shared.mu.Lock()
		shared.every = max(shared.every, time.Duration(float64(time.Second)/l.Rate))
		shared.burst = min(shared.burst, max(l.Burst, 1))
		shared.mu.Unlock()
	}
	return shared
}

// take reserves a turn that comes within most, and returns how long it is until then. It reserves none that comes later.
func (b *budget) take(most time.Duration) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	at := now
	if b.until.After(at) {
		at = b.until
	}
	if b.every > 0 {
		if first := b.due.Add(-time.Duration(b.burst-1) * b.every); first.After(at) {
			at = first
		}
	}
	if wait = at.Sub(now); wait > most {
		return wait, false
	}
	if b.due.Before(at) {
		b.due = at
	}
	b.due = b.due.Add(b.every)
	return wait, true
}

// hold keeps all who share the budget from asking for a while.
func (b *budget) hold(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.until) {
		b.until = until
	}
}

// turn waits until a request may be made.
func (h *HTTP) turn(ctx context.Context, what string) error {
	wait, ok := h.budget.take(maxHold)
	if !ok {
		return &poller.FetchError{Health: event.SourceLimited, After: wait, Err: fmt.Errorf(
			"%s is not asked for the next %s: the requests that this credential is granted are used up", what, recipe.FormatDuration(wait.Round(time.Second)))}
	}
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return failing("%s was given up: %w", what, ctx.Err())
	}
}

// heed tells the budget what an answer, and what it was judged to mean, say about how often the API may be asked.
func (h *HTTP) heed(a answer, err error) {
	if fetch, ok := errors.AsType[*poller.FetchError](err); ok && fetch.Health == event.SourceLimited {
		h.budget.hold(cmp.Or(fetch.After, shortHold))
		return
	}
	for _, q := range a.quotas() {
		if q.remaining == 0 && q.reset > 0 {
			h.budget.hold(q.reset)
		}
	}
}

// credential identifies who asks whom, for sharing a budget: the origin, what auth is made of, and what headers have of the user's. A key
// that stands in the query is not known from a filter there; lists whose key does share the origin's budget.
func (h *HTTP) credential() [sha256.Size]byte {
	var parts []string
	add := func(texts ...string) {
		for _, text := range texts {
			value, err := h.expand("", text)
			if err != nil {
				value = "" // a parameter that has no value
			}
			parts = append(parts, value)
		}
	}
	add(h.recipe.Auth.Bearer)
	if b := h.recipe.Auth.Basic; b != nil {
		add("basic", b.User, b.Password)
	}
	if x := h.recipe.Auth.Header; x != nil {
		add("header", x.Name, x.Value)
	}
	if l := h.recipe.Auth.Login; l != nil {
		add("login", l.URL)
		if l.Basic != nil {
			add(l.Basic.User, l.Basic.Password)
		}
	}
	if o := h.recipe.Auth.OAuth2; o != nil {
		add("oauth2", o.TokenURL, o.ClientID, o.ClientSecret)
	}
	if h.recipe.Auth == (recipe.Auth{}) {
		for _, key := range slices.Sorted(maps.Keys(h.recipe.Headers)) {
			if text := h.recipe.Headers[key]; strings.Contains(text, "{") {
				add(key, text)
			}
		}
	}
	return sha256.Sum256([]byte(h.origin + "\x00" + strings.Join(parts, "\x00")))
}
