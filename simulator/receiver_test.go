package simulator

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func deliver(c *Receiver, header, id string) int {
	r := httptest.NewRequest("POST", "/webhooks", strings.NewReader("body of "+id))
	if header != "" {
		r.Header.Set(header, id)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Code
}

func TestReceiverCounts(t *testing.T) {
	c := NewReceiver(ReceiverOptions{Bodies: true})
	for _, id := range []string{"b", "a", "b", "c%20d"} {
		if status := deliver(c, "Tidings-Event-Id", id); status != 204 {
			t.Errorf("%s: %d", id, status)
		}
	}
	deliver(c, "Webhook-Id", "a")
	if status := deliver(c, "", ""); status != 400 {
		t.Errorf("without an id: %d", status)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest("GET", "/_simulator/received", nil))
	want := `{"id":"b","count":2}` + "\n" + `{"id":"a","count":2}` + "\n" + `{"id":"c d","count":1}` + "\n"
	if w.Body.String() != want {
		t.Errorf("received %s", w.Body)
	}
	if body := c.Received()[0].Body; string(body) != "body of b" {
		t.Errorf("body %s", body)
	}
	if s := c.Stats(); s != (ReceiverStats{Requests: 5, Accepted: 5, Repeated: 2}) {
		t.Errorf("stats %+v", s)
	}
}

func TestReceiverRefuses(t *testing.T) {
	c := NewReceiver(ReceiverOptions{Refuse: 0.5})
	for range 200 {
		deliver(c, "webhook-id", "a")
	}
	if s := c.Stats(); s.Refused < 60 || s.Refused > 140 || c.Received()[0].Count != s.Accepted {
		t.Errorf("stats %+v", s)
	}
	c = NewReceiver(ReceiverOptions{})
	c.RefuseIDs("poison")
	for range 20 {
		if status := deliver(c, "webhook-id", "poison"); status != http.StatusServiceUnavailable {
			t.Errorf("poison: %d", status)
		}
	}
	c.SetDown(true)
	if status := deliver(c, "webhook-id", "a"); status != http.StatusServiceUnavailable {
		t.Errorf("down: %d", status)
	}
	c.SetDown(false)
	if status := deliver(c, "webhook-id", "a"); status != http.StatusNoContent {
		t.Errorf("up again: %d", status)
	}
	if len(c.Received()) != 1 {
		t.Errorf("received %v", c.Received())
	}
}

func TestReceiverSlowAndParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewReceiver(ReceiverOptions{Slow: time.Second})
		began := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { deliver(c, "webhook-id", "a") })
		}
		wg.Wait()
		if took := time.Since(began); took != time.Second || c.Received()[0].Count != 20 {
			t.Errorf("took %v, received %v", took, c.Received())
		}
	})
}
