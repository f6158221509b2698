package sources

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
	"tidings/simulator"
)

// Every preset reads its simulated API to the end: each event has an id, a type and JSON for a body, and whatever an event list has
// is found, byte for byte.
func TestEveryPresetReadsItsAPI(t *testing.T) {
	for _, vendor := range simulator.APIs() {
		t.Run(vendor.Name, func(t *testing.T) {
			api := vendor.New(simulator.Options{Seed: 7})
			api.Backfill(150, 10*24*time.Hour)
			server := httptest.NewServer(api)
			defer server.Close()
			preset, err := recipe.Find(vendor.Name)
			if err != nil {
				t.Fatal(err)
			}
			bodies := map[string][]byte{}
			for _, list := range preset.HTTP.Lists(preset.Feeds) {
				h, err := New(list.HTTP, presetValues(t, preset, api.With(server.URL)), Options{Source: vendor.Name})
				if err != nil {
					t.Fatal(list.Name, err)
				}
				dated := list.Time == ""
				for _, e := range readAll(t, h, list.HTTP) {
					dated = dated || !e.Time.IsZero()
					if list.Changes.Resource != "" && (e.Resource == "" || !h.Wrap(&e, poller.Created)) {
						t.Errorf("%s: no event is made of %s", list.Name, e.Data)
					}
					if e.ID == "" || e.Type == "" || e.Broken != "" || !json.Valid(e.Data) {
						t.Errorf("%s: %+v has no id, type or body", list.Name, e)
					}
					key, err := api.Key(e.ID, e.Data)
					if err != nil {
						t.Error(list.Name, err)
					}
					bodies[key] = e.Data
				}
				if !dated {
					t.Errorf("%s: no event has a time", list.Name)
				}
			}
			if len(bodies) < 20 {
				t.Errorf("only %d events were listed", len(bodies))
			}
			for _, fact := range api.Facts() {
				if fact.Resource == "" && !fact.Gone && !fact.Holds(bodies[fact.Key]) {
					t.Errorf("%s is listed as %s, and is\n%s", fact.Key, bodies[fact.Key], fact.Body)
				}
			}
		})
	}
}

// presetValues are the values that a configuration would give a preset.
func presetValues(t *testing.T, p *recipe.Preset, with map[string]string) map[string]event.Secret {
	t.Helper()
	values := map[string]event.Secret{}
	for name, param := range p.With {
		if param.Default != "" {
			values[name] = event.NewSecret(param.Default)
		}
	}
	for name, value := range with {
		if _, ok := p.With[name]; !ok {
			t.Errorf("the preset does not take %s", name)
		}
		values[name] = event.NewSecret(value)
	}
	return values
}

// readAll reads a list to its end.
func readAll(t *testing.T, h *HTTP, list recipe.HTTP) []event.Event {
	t.Helper()
	var r poller.Request
	if list.Position == recipe.TimeWindow {
		r.Since, r.Until = time.Now().Add(-30*24*time.Hour), time.Now()
	}
	var all []event.Event
	for range 100 {
		page, err := h.Fetch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Events...)
		if page.Next == "" || page.Idle {
			return all
		}
		r.Cursor = page.Next
	}
	t.Fatal("the list has no end")
	return nil
}
