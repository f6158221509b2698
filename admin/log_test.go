package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// lines is a handler that keeps what is logged, without the time.
func lines(level slog.Level) (*slog.Logger, func() []string) {
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return log, func() []string {
		text := strings.TrimSpace(buf.String())
		buf.Reset()
		if text == "" {
			return nil
		}
		return strings.Split(text, "\n")
	}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestLines(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		notice event.Notice
		want   string
	}{
		{event.Polled{Source: "s", New: 3, Listed: 10, Took: 1234 * time.Millisecond}, `level=INFO msg=polled source=s new=3 listed=10 took=1.2s`},
		{event.Polled{Source: "s", Listed: 10, Took: 5 * time.Millisecond}, `level=DEBUG msg=polled source=s new=0 listed=10 took=5ms`},
		{event.TakenIn{Source: "s", Events: make([]event.Event, 2)}, `level=DEBUG msg="events are stored" source=s events=2`},
		{event.PollFailed{Source: "s", Health: event.SourceRefused, Err: errors.New("x"), At: at, Next: at.Add(90 * time.Second)}, `level=ERROR msg="the API refuses the account; it is asked again now and then" source=s error=x next="in 1m30s"`},
		{event.PollFailed{Source: "s", Health: event.SourceBlocked, Err: errors.New("x")}, `level=ERROR msg="nothing is taken in: the store has no room" source=s error=x`},
		{event.PollFailed{Source: "s", Health: event.SourceLimited, Err: errors.New("x")}, `level=INFO msg="the API asks to wait" source=s error=x`},
		{event.Attempted{Sink: "a", Source: "s", ID: "e", Number: 1, Outcome: event.Delivered}, `level=DEBUG msg=delivered sink=a source=s event=e attempt=1 took=0s`},
		{event.Attempted{Sink: "a", Source: "s", ID: "e", Number: 2, Outcome: event.Retry, Reason: "r", Wait: time.Second}, `level=DEBUG msg="an attempt failed" sink=a source=s event=e attempt=2 error=r next="in 1s"`},
		{event.Attempted{Sink: "a", Source: "s", ID: "e", Number: 9, Outcome: event.Dead, Reason: "r"}, `level=WARN msg="gave up on an event: it is a dead letter now" sink=a source=s event=e attempts=9 error=r`},
		{event.SinkChanged{Sink: "a", Health: event.Paused, Reason: "410"}, `level=WARN msg="the sink is paused, and nothing that it is owed is lost; resume it with: tidings resume sink a" sink=a error=410`},
		{event.SetAside{Source: "s", What: "item 3", Why: "not an object"}, `level=WARN msg="set aside what can't be read" source=s what="item 3" why="not an object"`},
		{event.SetAside{Sink: "a", What: "record 3", Why: "crc"}, `level=WARN msg="set aside what can't be read" sink=a what="record 3" why=crc`},
		{event.Hashed{Source: "s"}, `level=WARN msg="the API lists events without an id: they are told apart by a hash of their content" source=s`},
		{event.GapFound{Gap: event.Gap{Source: "s", From: at, Certain: true, Why: "w"}}, `level=ERROR msg="events are missing: the API can't give them any more" source=s from=2026-01-02T03:04:05Z why=w`},
		{event.GapFound{Gap: event.Gap{Source: "s", Why: "w"}}, `level=WARN msg="events may be missing: the API may not have listed all" source=s why=w`},
		{event.ClockDoubted{Why: "w"}, `level=WARN msg="the clock can't be right: nothing expires until a server's clock agrees with it" why=w`},
		{event.ClockDoubted{}, `level=INFO msg="the clock is believed again"`},
		{event.StoreTrouble{Err: errors.New("x")}, `level=ERROR msg="the store failed to write and has reopened its file" error=x times=1`},
	} {
		log, got := lines(slog.LevelDebug)
		Log(log)(c.notice)
		expect(t, got(), c.want)
	}
	log, got := lines(slog.LevelInfo)
	Log(log)(event.Polled{Source: "s", History: 40, Listed: 40})
	expect(t, got(), `level=INFO msg="first poll: these listed events are from before the start and are not delivered" source=s events=40`)
}

// TestNoFlood: six hours of failures at every second make a handful of lines, and the recovery one.
func TestNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, got := lines(slog.LevelInfo)
		tell := Log(log)
		for i := range 6 * 3600 {
			tell(event.PollFailed{Source: "s", Health: event.SourceFailing, Failures: i + 1, Err: fmt.Errorf("request %d: 503", i)})
			time.Sleep(time.Second)
		}
		tell(event.PollFailed{Source: "s", Health: event.SourceLimited, Err: errors.New("429")}) // another kind is news
		tell(event.Polled{Source: "s"})
		tell(event.Polled{Source: "s"})
		all := got()
		if len(all) < 8 || len(all) > 16 {
			t.Errorf("%d lines", len(all))
		}
		expect(t, all[:3],
			`level=WARN msg="a poll failed; it is tried again" source=s error="request 0: 503"`,
			`level=WARN msg="polls still fail" source=s failures=61 for=1m0s error="request 60: 503"`,
			`level=WARN msg="polls still fail" source=s failures=181 for=3m0s error="request 180: 503"`)
		expect(t, all[len(all)-2:],
			`level=INFO msg="the API asks to wait" source=s error=429`,
			`level=INFO msg="the source works again" source=s failures=21601 after=6h0m0s`)
	})
}

// TestNoFloodOfFlapping: a source that fails and recovers in turn is not told each time; after a calm it is news again.
func TestNoFloodOfFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, got := lines(slog.LevelInfo)
		tell := Log(log)
		for range 1800 {
			tell(event.PollFailed{Source: "s", Health: event.SourceFailing, Err: errors.New("503")})
			time.Sleep(time.Second)
			tell(event.Polled{Source: "s"})
			time.Sleep(time.Second)
		}
		if all := got(); len(all) < 4 || len(all) > 20 {
			t.Errorf("%d lines in an hour", len(all))
		}
		time.Sleep(calmAfter)
		tell(event.PollFailed{Source: "s", Health: event.SourceFailing, Err: errors.New("503")})
		tell(event.Polled{Source: "s"})
		if all := got(); len(all) != 2 {
			t.Errorf("after a calm: %q", all)
		}
	})
}

func TestRefusalIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, got := lines(slog.LevelInfo)
		tell := Log(log)
		for range 4 * 24 {
			tell(event.PollFailed{Source: "s", Health: event.SourceRefused, Err: errors.New("account_disabled")})
			time.Sleep(15 * time.Minute)
		}
		expect(t, got(), `level=ERROR msg="the API refuses the account; it is asked again now and then" source=s error=account_disabled`)
		tell(event.Polled{Source: "s"})
		expect(t, got(), `level=INFO msg="the source works again" source=s failures=96 after=24h0m0s`)
	})
}

func TestSinkDownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, got := lines(slog.LevelInfo)
		tell := Log(log)
		tell(event.SinkChanged{Sink: "a", Health: event.Up}) // at the start: no news
		expect(t, got())
		for range 10 { // each failed probe
			tell(event.SinkChanged{Sink: "a", Health: event.Down, Reason: "refused"})
			time.Sleep(5 * time.Second)
		}
		tell(event.SinkChanged{Sink: "a", Health: event.Up})
		expect(t, got(),
			`level=WARN msg="the sink is down: one event at a time tries it until it works" sink=a error=refused`,
			`level=INFO msg="the sink is up again" sink=a after=50s`)
	})
}

func TestManyDeadLettersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, got := lines(slog.LevelInfo)
		tell := Log(log)
		for i := range 5000 {
			tell(event.Attempted{Sink: "a", ID: fmt.Sprint(i), Outcome: event.Dead})
		}
		if all := got(); len(all) != burstLines {
			t.Errorf("%d lines", len(all))
		}
		time.Sleep(burstWithin)
		tell(event.Polled{Source: "s"})
		expect(t, got(), `level=WARN msg="gave up on more events: see tidings dead" sink=a events=4990`)
		tell(event.Attempted{Sink: "a", ID: "x", Outcome: event.Dead})
		if all := got(); len(all) != 1 {
			t.Errorf("the next burst is not told: %q", all)
		}
	})
}

func TestJournal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	info, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	log := NewLogger(w, slog.LevelDebug, "auto")
	log.Debug("d")
	log.Info("two\nlines", "text", "a\nb", "n", 1)
	log.With("sink", "app").WithGroup("g").Warn("w", "k", "v")
	log.Error("e", "error", errors.New("x y"))
	log.Log(context.Background(), slog.LevelDebug-1, "hidden")
	NewLogger(w, slog.LevelInfo, "json").Info("j")
	NewLogger(w, slog.LevelInfo, "text").Info("t")
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino+1)) // inherited: another file
	NewLogger(w, slog.LevelInfo, "auto").Info("p")
	_ = w.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(got) != 7 {
		t.Fatalf("%d lines:\n%s", len(got), text.String())
	}
	expect(t, got[:4], "<7>d", `<6>two lines text="a\nb" n=1`, "<4>w sink=app g.k=v", `<3>e error="x y"`)
	for i, want := range map[int]string{4: `"msg":"j"}`, 5: "level=INFO msg=t", 6: "level=INFO msg=p"} {
		if !strings.Contains(got[i], want) || strings.HasPrefix(got[i], "<") || !strings.Contains(got[i], "time") {
			t.Errorf("line %d is %s", i, got[i])
		}
	}
}
