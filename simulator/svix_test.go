package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type svixPage struct {
	Data []struct {
		ID, EventType string
		Payload       json.RawMessage
		Timestamp     time.Time
	}
	Iterator string
	Done     *bool
}

func (p *svixPage) ids() []string {
	ids := []string{}
	for _, m := range p.Data {
		ids = append(ids, m.ID)
	}
	return ids
}

func newSvix(t *testing.T, o Options) (*Svix, *caller) {
	s := NewSvix(o)
	return s, newCaller(t, s, "Authorization", "Bearer "+s.token)
}

func (c *caller) svix(s *Svix, rest string) (p svixPage) {
	c.t.Helper()
	c.get("/api/v1/app/"+s.app+"/poller/"+s.sink+rest, &p)
	if p.Iterator == "" || p.Done == nil {
		c.t.Errorf("page %+v", p)
	}
	return p
}

// https://docs.svix.com/receiving/using-app-portal/polling-endpoints: "When first calling the endpoint, it will return an empty array
// and an iterator", done false; then messages in the order in which they were sent.
func TestSvixPoll(t *testing.T) {
	s, c := newSvix(t, Options{Seed: 5})
	s.Add(120)
	s.AddLate(time.Hour) // an older timestamp, sent last
	p := c.svix(s, "")
	if len(p.Data) != 0 || *p.Done {
		t.Fatalf("first call: %+v", p)
	}
	var got []string
	form := regexp.MustCompile(`^msg_[A-Za-z0-9]{27}$`) // the OpenAPI document's pattern
	facts := s.Facts()
	for !*p.Done {
		p = c.svix(s, "?limit=50&iterator="+p.Iterator)
		for _, m := range p.Data {
			f := facts[len(got)]
			if !form.MatchString(m.ID) || !bytes.Equal(m.Payload, f.Body) || m.EventType != f.Type || !m.Timestamp.Equal(f.Time) {
				t.Fatalf("%+v is told as %+v", m, f)
			}
			got = append(got, m.ID)
		}
	}
	if !slices.Equal(got, factIDs(s)) {
		t.Errorf("%d messages of 121, or another order", len(got))
	}
	idle := c.svix(s, "?iterator="+p.Iterator)
	if len(idle.Data) != 0 || !*idle.Done {
		t.Errorf("nothing new: %+v", idle)
	}
	fresh := s.Add(1)
	if p := c.svix(s, "?iterator="+idle.Iterator); !slices.Equal(p.ids(), []string{fresh[0].ID}) || !*p.Done {
		t.Errorf("one new: %+v", p)
	}
	typed := c.svix(s, "?event_type=invoice.paid&limit=250&iterator="+c.svix(s, "").Iterator)
	for _, m := range typed.Data {
		if m.EventType != "invoice.paid" {
			t.Error("the filter lets pass " + m.EventType)
		}
	}
	if len(typed.Data) == 0 {
		t.Error("the filter lets nothing pass")
	}
}

func TestSvixAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newSvix(t, Options{})
		s.Add(3)
		at := time.Now()
		time.Sleep(time.Second)
		fresh := s.Add(2)
		first := c.svix(s, "?after="+at.UTC().Format(time.RFC3339))
		if len(first.Data) != 0 || *first.Done {
			t.Errorf("first call: %+v", first)
		}
		if p := c.svix(s, "?iterator="+first.Iterator); !slices.Equal(p.ids(), eventIDs(fresh)) || !*p.Done {
			t.Errorf("%+v", p)
		}
	})
}

// A stale iterator is answered with 400 and the code invalid_iterator, which svix-bridge acts on
// (https://github.com/svix/svix-webhooks, bridge/svix-bridge).
func TestSvixErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newSvix(t, Options{})
		s.Add(10)
		path := "/api/v1/app/" + s.app + "/poller/" + s.sink
		begin := c.svix(s, "").Iterator
		it := c.svix(s, "?limit=4&iterator="+begin).Iterator
		c.refused("GET", path+"?iterator=eyJ4", "", 400, `"code":"invalid_iterator"`)
		c.refused("GET", path+"?limit=251", "", 422, `"loc":["query","limit"]`)
		c.refused("GET", path+"?after=yesterday", "", 422, `"loc":["query","after"]`)
		c.refused("GET", path+"x", "", 404, `"code":"not_found"`)
		c.refused("DELETE", path, "", 405, `"code"`)
		newCaller(t, s, "Authorization", "Bearer x").refused("GET", path, "", 401, `"code":"authentication_failed"`)

		s.SetFaults(Faults{Lost: Fault{Next: 1}})
		for range 2 { // and it stays lost
			c.refused("GET", path+"?iterator="+it, "", 400, "invalid_iterator")
		}
		it = c.svix(s, "?limit=4&iterator="+c.svix(s, "").Iterator).Iterator
		time.Sleep(89 * 24 * time.Hour)
		s.Add(1)
		if p := c.svix(s, "?iterator="+it); len(p.Data) != 7 {
			t.Errorf("%d messages after 89 days", len(p.Data))
		}
		time.Sleep(2 * 24 * time.Hour) // payloads are kept for 90 days
		c.refused("GET", path+"?iterator="+it, "", 400, "invalid_iterator")
		if p := c.svix(s, "?iterator="+c.svix(s, "").Iterator); len(p.Data) != 1 {
			t.Errorf("%d messages after 91 days", len(p.Data))
		}
	})
}

// The position of a consumer is the server's: it moves when the iterator is given back, and by seek.
func TestSvixConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newSvix(t, Options{})
		want := eventIDs(s.Add(10))
		first := c.svix(s, "/consumer/a?limit=4")
		again := c.svix(s, "/consumer/a?limit=4")
		if !slices.Equal(first.ids(), want[:4]) || !slices.Equal(again.ids(), want[:4]) || *first.Done {
			t.Errorf("%v, then %v", first.ids(), again.ids())
		}
		second := c.svix(s, "/consumer/a?limit=4&iterator="+first.Iterator)
		if again := c.svix(s, "/consumer/a"); !slices.Equal(second.ids(), want[4:8]) || !slices.Equal(again.ids(), want[4:]) || !*again.Done {
			t.Errorf("%v, then %v", second.ids(), again.ids())
		}
		if other := c.svix(s, "/consumer/b"); len(other.Data) != 10 {
			t.Errorf("another consumer has %d messages", len(other.Data))
		}
		at := time.Now()
		time.Sleep(time.Second)
		fresh := s.Add(1)
		path := "/api/v1/app/" + s.app + "/poller/" + s.sink + "/consumer/a/seek"
		resp, body := c.do("POST", path, fmt.Sprintf(`{"after":%q}`, at.UTC().Format(time.RFC3339Nano)))
		var sought struct{ Iterator string }
		if err := json.Unmarshal(body, &sought); err != nil || resp.StatusCode != 200 || sought.Iterator == "" {
			t.Fatalf("seek: %d %s", resp.StatusCode, body)
		}
		for _, query := range []string{"", "?iterator=" + sought.Iterator} {
			if p := c.svix(s, "/consumer/a"+query); !slices.Equal(p.ids(), eventIDs(fresh)) {
				t.Errorf("after a seek%s: %v", query, p.ids())
			}
		}
		c.refused("POST", path, `{"after":"soon"}`, 422, `"loc":["body","after"]`)
		c.refused("GET", path, "", 405, "method_not_allowed")
	})
}

// Whatever pages do, an iterator never leads past a message that was not listed.
func TestSvixFaults(t *testing.T) {
	s, c := newSvix(t, Options{Seed: 9})
	s.Add(200)
	set(t, s, "loop=0.2,repeat=0.3,twice=0.3,end=0.2")
	seen, it := map[string]bool{}, c.svix(s, "").Iterator
	order := []string{}
	for len(order) < 200 && s.Stats().Pages < 500 {
		p := c.svix(s, "?limit=20&iterator="+it)
		for _, id := range p.ids() {
			if !seen[id] {
				seen[id], order = true, append(order, id)
			}
		}
		it = p.Iterator
	}
	if !slices.Equal(order, factIDs(s)) {
		t.Errorf("%d messages of 200 after %d pages, or another order", len(order), s.Stats().Pages)
	}
	if f := s.Stats().Faults; f["loop"] == 0 || f["repeat"] == 0 || f["twice"] == 0 || f["end"] == 0 {
		t.Errorf("faults %v", f)
	}
}

func FuzzSvixQuery(f *testing.F) {
	for _, seed := range []string{
		"iterator=eyJvZmZzZXQiOi05fQ",
		"iterator=" + iterator{Offset: 3}.String(),
		"limit=3&after=2025-04-21T11:20:34Z",
		"channel=a",
	} {
		f.Add(seed)
	}
	s := NewSvix(Options{})
	s.Add(5)
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		q, wrong := parseSvixQuery(values)
		if wrong != "" {
			return
		}
		for _, consumer := range []string{"", "c"} {
			page, next, _, ok := s.poll(q, consumer)
			if it, valid := parseIterator(next); ok && (!valid || it.Offset > 5 || len(page) > q.limit) {
				t.Errorf("%q: %d messages, next %q", text, len(page), next)
			}
		}
	})
}
