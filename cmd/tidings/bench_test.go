package main

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/config"
	"tidings/simulator"
)

// The whole way in and out, with a real store, real sockets and real files, in this process: a simulated API, the poller and
// the store to take events in; the store, a worker and a sink to deliver them. One operation is one event.

func BenchmarkTakeIn(b *testing.B) {
	e := benchEngine(b, "archive: {file: {path: DIR/events.jsonl}}")
	written := writtenBytes(b)
	b.ResetTimer()
	if err := e.pollers[0].Poll(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(writtenBytes(b)-written)/float64(b.N), "written-B/event")
	b.ReportMetric(0, "ns/op")
	owed(b, e, uint64(b.N))
}

func BenchmarkDeliverToFile(b *testing.B) {
	deliver(b, "archive: {file: {path: DIR/events.jsonl}}")
}

func BenchmarkDeliverToHTTP(b *testing.B) {
	app := httptest.NewServer(simulator.NewReceiver(simulator.ReceiverOptions{}))
	b.Cleanup(app.Close)
	deliver(b, "app: {http: {url: \""+app.URL+"\"}, concurrency: 32}")
}

func deliver(b *testing.B, sink string) {
	e := benchEngine(b, sink)
	if err := e.pollers[0].Poll(b.Context()); err != nil {
		b.Fatal(err)
	}
	written := writtenBytes(b)
	b.ResetTimer()
	if err := e.workers[0].Drain(b.Context(), 0); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(writtenBytes(b)-written)/float64(b.N), "written-B/event")
	b.ReportMetric(0, "ns/op")
	owed(b, e, 0)
}

// BenchmarkIdle runs the daemon as a process of its own, polling an API once a second that has nothing new, and reports the
// CPU time it takes a second and the memory it holds. One operation is one second.
func BenchmarkIdle(b *testing.B) {
	s := newSite(b)
	s.api.Backfill(100, time.Hour)
	s.configure("every: 1s\nstart: earliest", "archive:\n  file: {path: DIR/events.jsonl}")
	d := s.start()
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	cpu, written := d.cpuTime(), d.written()
	b.ResetTimer()
	time.Sleep(time.Duration(b.N) * time.Second)
	b.StopTimer()
	b.ReportMetric(float64((d.cpuTime()-cpu).Milliseconds())/float64(b.N), "cpu-ms/s")
	b.ReportMetric(float64(d.written()-written)/float64(b.N), "written-B/s")
	b.ReportMetric(float64(d.memory("RssAnon"))/1e6, "anonymous-MB")
	b.ReportMetric(float64(d.memory("VmRSS"))/1e6, "resident-MB")
	b.ReportMetric(0, "ns/op")
	d.stop()
}

// benchEngine is an engine with one source that lists b.N events and one sink.
func benchEngine(b *testing.B, sink string) *engine {
	b.Helper()
	dir := b.TempDir()
	sim := simulator.NewFlatpeak(simulator.Options{Seed: 1, AccountID: simulatedAccount, APIKey: simulatedKey})
	sim.Backfill(b.N, 24*time.Hour)
	api := httptest.NewServer(sim)
	b.Cleanup(api.Close)
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("data_dir: %s\nsources: {flatpeak: {preset: flatpeak, with: {account_id: %s, api_key: %s, base_url: %q}, start: earliest}}\nsinks:\n  %s\n",
		dir, simulatedAccount, simulatedKey, api.URL, strings.ReplaceAll(sink, "DIR", dir))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		b.Fatal(err)
	}
	e, err := newEngine(b.Context(), cfg, slog.New(slog.DiscardHandler), startFlags{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.close(); err != nil {
			b.Error(err)
		}
	})
	return e
}

func owed(b *testing.B, e *engine, want uint64) {
	b.Helper()
	stats, err := e.store.Sinks()
	if err != nil {
		b.Fatal(err)
	}
	if stats[0].Owed != want {
		b.Errorf("the sink is owed %d events, want %d", stats[0].Owed, want)
	}
}

// writtenBytes is how much this process has had written to disk.
func writtenBytes(tb testing.TB) int64 { return procField(tb, "/proc/self/io", "write_bytes") }

func (d *daemon) written() int64 {
	return procField(d.t, fmt.Sprintf("/proc/%d/io", d.cmd.Process.Pid), "write_bytes")
}

// memory is a figure of the daemon's memory, in bytes.
func (d *daemon) memory(field string) int64 {
	return 1024 * procField(d.t, fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid), field)
}

// cpuTime is the CPU time that the daemon has taken, from proc(5): fields 14 and 15 of stat, in hundredths of a second.
func (d *daemon) cpuTime() time.Duration {
	d.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			d.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// procField reads the number behind "NAME:" in a file under /proc.
func procField(tb testing.TB, path, name string) int64 {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			n, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatalf("%s has no %s", path, name)
	return 0
}
