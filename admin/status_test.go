package admin

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

func topology() event.Topology {
	return event.Topology{
		Sources: []event.SourceSpec{{Name: "flatpeak"}, {Name: "stripe"}},
		Sinks:   []event.SinkSpec{{Name: "app"}},
	}
}

// TestStatusDocument compares the whole document with the contract's keys and forms.
func TestStatusDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now() // midnight of 2000-01-01, UTC
		store := &fakeStore{
			sources: []event.SourceStats{{Name: "stripe"}, {Name: "flatpeak", GapCount: 3, Position: []byte("p")}, {Name: "left-over"}},
			sinks:   []event.SinkStats{{Name: "app", Owed: 4, Oldest: start.Add(time.Second), Retrying: 2, Dead: 0}},
			stats:   event.StoreStats{Path: "/d/store.db", Size: 10, Used: 5, Events: 2, IDs: 9, Free: 7},
		}
		live := NewLive(topology())
		server := &Server{Store: store, Live: live, Position: func(position []byte) Standing {
			if string(position) != "p" {
				return Standing{}
			}
			return Standing{
				Position: new(start.Add(-time.Hour)), LastID: "evt_1",
				Feeds: map[string]Standing{"deals": {Cursor: "c", Walking: true}, "notes": {Lost: true}},
			}
		}}
		live.Notify(event.TakenIn{Source: "flatpeak", Events: make([]event.Event, 4)})
		live.Notify(event.PollFailed{Source: "flatpeak", Listed: 3, Repeated: 1}) // what it took in counts
		live.Notify(event.Polled{Source: "flatpeak", At: start, Listed: 7, New: 2, Repeated: 5, Next: start.Add(time.Minute)})
		live.Notify(event.Attempted{Sink: "app", Outcome: event.Retry, Reason: "answered 503"})
		live.Notify(event.Polled{Source: "nobody"})
		live.Notify(event.Attempted{Sink: "nobody"})
		time.Sleep(1500 * time.Millisecond)

		got, err := client(t, server).Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"ok":true,"message":"all is well","sources":{` +
			`"flatpeak":{"state":"ok","last_success":"2000-01-01T00:00:00Z","next_poll":"2000-01-01T00:01:00Z","position":"1999-12-31T23:00:00Z","last_id":"evt_1",` +
			`"feeds":{"deals":{"position":null,"cursor":"c","walking":true},"notes":{"position":null,"lost":true}},"lag":1.5,"error":"","listed":10,"new":4,"gaps":3},` +
			`"stripe":{"state":"starting","last_success":null,"next_poll":null,"position":null,"lag":null,"error":"","listed":0,"new":0,"gaps":0}},` +
			`"sinks":{"app":{"state":"up","owed":4,"oldest":"2000-01-01T00:00:01Z","retrying":2,"dead":0,"error":"answered 503","held_until":null}},` +
			`"store":{"path":"/d/store.db","size":10,"used":5,"events":2,"ids":9,"free":7}}`
		if string(text) != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
		if line := got.Line(); line != "1/2 sources ok, 4 owed, 0 dead" {
			t.Errorf("the line is %q", line)
		}
	})
}

func TestWhatIsWrong(t *testing.T) {
	failing := func(health event.SourceHealth) []event.Notice {
		return []event.Notice{event.PollFailed{Source: "flatpeak", Health: health, Err: errors.New("login:\n401")}}
	}
	gap := func(certain bool, age time.Duration) []event.SourceStats {
		found := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age)
		return []event.SourceStats{{Name: "flatpeak", GapCount: 1, Gaps: []event.Gap{{Found: found, Certain: certain, Why: "the cursor expired"}}}}
	}
	for name, c := range map[string]struct {
		store   fakeStore
		notices []event.Notice
		stopped bool
		level   Level
		message string
	}{
		"all is well": {message: "all is well"},
		"stopped":     {stopped: true, level: LevelCritical, message: "the daemon is not running"},
		"full":        {store: fakeStore{stats: event.StoreStats{Full: "the disk has 3 MiB left"}}, level: LevelCritical, message: "nothing is taken in: the disk has 3 MiB left"},
		"filled": {
			store: fakeStore{stats: event.StoreStats{Full: "it uses 2 GiB"}, sinks: []event.SinkStats{{Name: "app", Owed: 3}, {Name: "archive", Owed: 9}, {Name: "z"}}},
			level: LevelCritical, message: "nothing is taken in: it uses 2 GiB; sink archive is owed 9 events",
		},
		"filled by a removed one": {
			store: fakeStore{stats: event.StoreStats{Full: "it uses 2 GiB"}, sinks: []event.SinkStats{{Name: "app", Owed: 3}, {Name: "old", Owed: 9, Frozen: true}}},
			level: LevelCritical, message: "nothing is taken in: it uses 2 GiB; sink old, which is no longer configured, is owed 9 events: configure it again, so that it takes them",
		},
		"failing from start": {notices: failing(event.SourceFailing), level: LevelCritical, message: "source flatpeak is failing (login: 401)"},
		"failing now": {
			notices: append([]event.Notice{event.Polled{Source: "flatpeak", At: time.Date(1999, 12, 31, 23, 50, 0, 0, time.UTC)}}, failing(event.SourceFailing)...),
			level:   LevelWarning, message: "source flatpeak is failing (login: 401)",
		},
		"failing for long": {
			notices: append([]event.Notice{event.Polled{Source: "flatpeak", At: time.Date(1999, 12, 31, 23, 40, 0, 0, time.UTC)}}, failing(event.SourceFailing)...),
			level:   LevelCritical, message: "source flatpeak is failing (login: 401)",
		},
		"refused":   {notices: failing(event.SourceRefused), level: LevelCritical, message: "source flatpeak is refused by its API (login: 401)"},
		"blocked":   {notices: failing(event.SourceBlocked), level: LevelCritical, message: "source flatpeak is blocked by the store (login: 401)"},
		"limited":   {notices: failing(event.SourceLimited), level: LevelWarning, message: "source flatpeak is asked by its API to wait (login: 401)"},
		"recovered": {notices: append(failing(event.SourceRefused), event.Polled{Source: "flatpeak"}), message: "all is well"},
		"gap":       {store: fakeStore{sources: gap(true, time.Hour)}, level: LevelCritical, message: "source flatpeak has a gap (found 1999-12-31T23:00:00Z: the cursor expired)"},
		"perhaps":   {store: fakeStore{sources: gap(false, time.Hour)}, level: LevelWarning, message: "source flatpeak may have a gap (found 1999-12-31T23:00:00Z: the cursor expired)"},
		"old gap":   {store: fakeStore{sources: gap(true, 8*24*time.Hour)}, message: "all is well"},
		"down": {
			store: fakeStore{sinks: []event.SinkStats{{Name: "app", State: event.SinkState{Health: event.Down, Reason: "connection refused"}}}},
			level: LevelCritical, message: "sink app is down (connection refused)",
		},
		"paused, dead": {
			store: fakeStore{sinks: []event.SinkStats{{Name: "app", Dead: 2, State: event.SinkState{Health: event.Paused, Reason: "answered 410"}}}},
			level: LevelWarning, message: "sink app is paused (answered 410); resume it with: tidings resume sink app; sink app has 2 dead letters",
		},
		"removed": {store: fakeStore{sinks: []event.SinkStats{{Name: "app", Frozen: true, Dead: 2, State: event.SinkState{Health: event.Down}}}}, message: "all is well"},
		"many": {
			store: fakeStore{sinks: []event.SinkStats{{Name: "g", Dead: 1}, {Name: "f", Dead: 1}, {Name: "e", Dead: 1}, {Name: "d", Dead: 1}, {Name: "c", Dead: 1}, {Name: "b", Dead: 1}, {Name: "a", Dead: 1}}},
			level: LevelWarning, message: "sink a has 1 dead letter; sink b has 1 dead letter; sink c has 1 dead letter; sink d has 1 dead letter; sink e has 1 dead letter; and 2 more",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.store.sources == nil {
					c.store.sources = []event.SourceStats{{Name: "flatpeak"}}
				}
				server := &Server{Store: &c.store, Live: NewLive(topology())}
				for _, n := range c.notices {
					server.Live.Notify(n)
				}
				if c.stopped {
					server.Live = nil
				}
				status, err := client(t, server).Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if status.Message != c.message || status.OK != (c.level == LevelOK) {
					t.Errorf("the status is ok=%v, %q; want %v, %q", status.OK, status.Message, c.level == LevelOK, c.message)
				}
				check, err := client(t, server).Check(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if check != (Check{c.level, c.message}) {
					t.Errorf("the check says %v, want %v %q", check, c.level, c.message)
				}
			})
		})
	}
}

func TestStoppedStatus(t *testing.T) {
	until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	store := &fakeStore{
		sources: []event.SourceStats{{Name: "flatpeak"}},
		sinks: []event.SinkStats{{Name: "app", State: event.SinkState{Health: event.Paused, Reason: "by hand", HeldUntil: time.Now().Add(-time.Hour)}},
			{Name: "busy", State: event.SinkState{HeldUntil: until}}, {Name: "gone", Frozen: true, Owed: 7}},
	}
	status, err := client(t, &Server{Store: store}).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := status.Sources["flatpeak"]; got.State != StateStopped || got.Lag != nil {
		t.Errorf("the source of a stopped daemon is %+v", got)
	}
	if got := status.Sinks["app"]; got.State != "paused" || got.Error != "by hand" || got.HeldUntil != nil {
		t.Errorf("the paused sink is %+v", got)
	}
	if got := status.Sinks["busy"]; got.HeldUntil == nil || !got.HeldUntil.Equal(until) {
		t.Errorf("the sink that asked to wait is %+v", got)
	}
	if got := status.Sinks["gone"]; got.State != StateRemoved || got.Owed != 7 || !strings.Contains(got.Error, "no longer configured") {
		t.Errorf("the removed sink is %+v", got)
	}
}
