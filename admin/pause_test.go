package admin

import (
	"errors"
	"testing"
	"time"

	"tidings/event"
)

func TestPauseAndResume(t *testing.T) {
	gone := event.SinkState{Health: event.Paused, Since: time.Now(), Reason: "answered 410 Gone"}
	store := &fakeStore{sinks: []event.SinkStats{
		{Name: "app", Owed: 7, State: gone}, {Name: "archive"}, {Name: "left", Frozen: true},
		{Name: "sick", State: event.SinkState{Health: event.Down, Reason: "refused"}},
	}}
	c := client(t, &Server{Store: store})
	for _, step := range []struct {
		req   PauseRequest
		pause bool
		want  PauseChange
		after event.Health
	}{
		{PauseRequest{Sink: "app", DryRun: true}, false, PauseChange{"app", "paused", true, 7}, event.Paused},
		{PauseRequest{Sink: "app"}, true, PauseChange{"app", "paused", false, 7}, event.Paused},
		{PauseRequest{Sink: "app"}, false, PauseChange{"app", "paused", true, 7}, event.Up},
		{PauseRequest{Sink: "app"}, false, PauseChange{"app", "up", false, 7}, event.Up},
		{PauseRequest{Sink: "archive"}, true, PauseChange{"archive", "up", true, 0}, event.Paused},
		{PauseRequest{Sink: "sick"}, false, PauseChange{"sick", "down", false, 0}, event.Down},
		{PauseRequest{Sink: "sick"}, true, PauseChange{"sick", "down", true, 0}, event.Paused},
	} {
		got, err := c.Pause(t.Context(), step.req, step.pause)
		if err != nil || got != step.want {
			t.Errorf("%+v pause=%v: %+v, %v; want %+v", step.req, step.pause, got, err, step.want)
		}
		for _, s := range store.sinks {
			if s.Name == step.req.Sink && s.State.Health != step.after {
				t.Errorf("after %+v pause=%v the sink is %s, want %s", step.req, step.pause, s.State.Health, step.after)
			}
		}
	}
	// The worker finds the sink down at the same instant: it is paused all the same.
	store.sinks[1].State.Health = event.Up
	store.meanwhile = func(state *event.SinkState) { state.Health, store.meanwhile = event.Down, nil }
	got, err := c.Pause(t.Context(), PauseRequest{Sink: "archive"}, true)
	if want := (PauseChange{"archive", "down", true, 0}); err != nil || got != want || store.sinks[1].State.Health != event.Paused {
		t.Errorf("%+v, %v, %+v", got, err, store.sinks[1].State)
	}
	store.meanwhile = func(state *event.SinkState) { state.Health ^= event.Down }
	store.sinks[1].State.Health = event.Up
	if _, err := c.Pause(t.Context(), PauseRequest{Sink: "archive"}, true); err == nil {
		t.Error("a pause that was never stored is not told")
	}
	store.meanwhile = nil
	for _, name := range []string{"", "nobody", "left"} {
		_, err := c.Pause(t.Context(), PauseRequest{Sink: name}, false)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != NotFound {
			t.Errorf("resuming %q: %v, want not found", name, err)
		}
	}
	store.err = errors.New("the disk is gone")
	if _, err := c.Pause(t.Context(), PauseRequest{Sink: "archive"}, false); err == nil {
		t.Error("a store that fails is not told")
	}
}
