package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"tidings/config"
	"tidings/event"
)

func demoTold(t *testing.T, notices ...event.Notice) (*demoPrinter, string) {
	t.Helper()
	var out bytes.Buffer
	p := newDemoPrinter(&out, false, &config.Config{Sources: []config.Source{{Name: "stripe"}}, Sinks: []config.Sink{{Name: "app"}, {Name: "archive"}, {Name: "script"}}})
	for _, n := range notices {
		p.notify(n)
	}
	return p, out.String()
}

// The end of the demo cuts off a poll whose events have been delivered already: what the table says must still add up.
func TestDemoCountsAnUnfinishedPoll(t *testing.T) {
	events := make([]event.Event, 3)
	p, _ := demoTold(t,
		event.TakenIn{Events: events}, event.Polled{Listed: 5, New: 3, Repeated: 2},
		event.TakenIn{Events: events}, event.PollFailed{Err: errors.New("cut off")})
	if s := p.counted(); s.Listed != 8 || s.TakenIn != 6 || s.Repeated != 2 {
		t.Errorf("got %+v", s)
	}
}

// A line about an event that every sink took fits into 80 columns, and a long type leaves the columns where they are.
func TestDemoLines(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	attempt := func(sink string, outcome event.Outcome) event.Attempted {
		return event.Attempted{Sink: sink, At: at, ID: "evt_0123456789abcdef", Type: "authorization_update_finished", Number: 1, Outcome: outcome,
			Reason: "POST http://127.0.0.1/ answered 503 Service Unavailable", Wait: 512 * time.Millisecond}
	}
	_, out := demoTold(t, attempt("app", event.Delivered), attempt("script", event.Delivered), attempt("archive", event.Delivered))
	want := "03:04:05  authorization_update_fin… evt_0123…cdef  app ok  archive ok  script ok\n"
	if out != want || len([]rune(strings.TrimSpace(out))) > 80 {
		t.Errorf("got  %swant %s", out, want)
	}
	again := attempt("app", event.Delivered)
	again.Number = 2
	_, out = demoTold(t, attempt("app", event.Retry), attempt("script", event.Delivered), attempt("archive", event.Delivered), again)
	want = "03:04:05  authorization_update_fin… evt_0123…cdef  app 503, again in 500ms  archive ok  script ok\n" +
		"03:04:05  authorization_update_fin… evt_0123…cdef  app ok at attempt 2\n"
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}
