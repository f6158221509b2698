package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/event"
)

// The figures of a large store are those of `make bench-scale`; without these flags the same is done with a small one.
var (
	scaleIDs  = flag.Int("scale.ids", 100_000, "ids that BenchmarkScale remembers")
	scaleOwed = flag.Int("scale.owed", 10_000, "events that BenchmarkScale owes")
)

// The bounds. Where a figure depends on how busy the machine is it is only reported.
const (
	maxBytesPerEvent = 1536
	maxPagesPerTx    = 40
	maxIngestCPU     = 20 // µs an event
	maxSettlePages   = 10
	maxHeap          = 40 << 20
	maxAnonymous     = 60 << 20
	maxStartCPU      = 4 * time.Second
)

// scale is a large store and what goes into it.
type scale struct {
	*bench
	n    uint64
	body []byte
	page []event.Event
}

// fill makes the next n events of a type, their ids as random as a vendor's. Bodies are of 850 bytes, or empty.
func (sc *scale) fill(n int, typ string, body []byte) []event.Event {
	sc.page = sc.page[:0]
	for range n {
		sc.n++
		var id [28]byte
		copy(id[:], "evt_")
		print := fingerprint(fmt.Appendf(nil, "%016x", sc.n*0x9e3779b97f4a7c15))
		hex.Encode(id[4:], print[:12])
		sc.page = append(sc.page, event.Event{ID: string(id[:]), Type: typ, Data: body})
	}
	return sc.page
}

// settled waits until nothing is left to seal, forget, collect or compact.
func (sc *scale) settled() {
	sc.t.Helper()
	for idle := false; !idle; {
		before := sc.txid()
		sc.tidyNow()
		idle = sc.txid() == before
	}
	sc.copies.Wait()
}

var scaleOptions = Options{Keep: 0, Remember: 1000 * time.Hour, tick: time.Hour}

// scaleTopology has one sink that wants the backlog and three that want the pages.
func scaleTopology() event.Topology {
	t := topology("behind", "a", "b", "c")
	t.Sources[0].Events = event.Filter{"page", "backlog"}
	for i := range t.Sinks {
		t.Sinks[i].Events = event.Filter{"page"}
	}
	t.Sinks[0].Events = event.Filter{"backlog"}
	return t
}

func openScale(t testing.TB, path string) *scale {
	sc := &scale{bench: openAt(t, path, scaleOptions), body: []byte(`{"data":"` + strings.Repeat("x", 850-11) + `"}`)}
	sc.apply(scaleTopology())
	return sc
}

// BenchmarkScale builds a store that remembers many ids and owes many events, then measures it beside a plain file that the same
// bytes are appended to.
func BenchmarkScale(bm *testing.B) {
	if testing.Short() {
		bm.Skip("it takes minutes")
	}
	dir := bm.TempDir()
	path := filepath.Join(dir, "store.db")
	sc := openScale(bm, path)
	began := time.Now()
	sc.quick(true)
	for n := *scaleIDs - *scaleOwed; n > 0; n -= 5000 {
		sc.commit("ids", sc.fill(min(n, 5000), "unwanted", nil)...)
	}
	bm.Logf("%d ids in %v", sc.stats().IDs, time.Since(began).Round(time.Second))
	for n := *scaleOwed; n > 0; n -= 2000 {
		sc.commit("owed", sc.fill(min(n, 2000), "backlog", sc.body)...)
	}
	sc.settled()
	sc.quick(false)
	if s := sc.stats(); s.IDs != uint64(*scaleIDs) || sc.sink("behind").Owed != uint64(*scaleOwed) {
		bm.Fatalf("%+v", s)
	}
	bm.Logf("built in %v, a file of %s", time.Since(began).Round(time.Second), bytesText(sc.stats().Size))
	made := sc.n
	if err := sc.Close(); err != nil { // not end: a check reads everything
		bm.Fatal(err)
	}
	o := openInAProcess(bm, path, made)
	bm.Run("open", o.report)
	sc = openScale(bm, path)
	sc.n = made + 1_000_000
	defer func() {
		if err := sc.Close(); err != nil {
			bm.Error(err)
		}
	}()

	plain, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		bm.Fatal(err)
	}
	defer plain.Close()
	before := 0.0
	bm.Run("ingest/owed", func(bm *testing.B) { before = sc.ingest(bm, plain) })
	bm.Run("settle/300", sc.settle300)
	sc.part()
	bm.Run("settle/300-apart", sc.settle300)
	sc.drain()
	bm.Logf("drained, a file of %s of which %s are in use", bytesText(sc.stats().Size), bytesText(sc.stats().Used))
	bm.Run("ingest/drained", func(bm *testing.B) {
		if after := sc.ingest(bm, plain); bm.N >= 1000 && before > 0 && after > 1.2*before {
			bm.Errorf("after the backlog was drained %.0f bytes are written an event, before %.0f", after, before)
		}
	})
}

// ingest commits pages of 100 events, each with one transaction, and what their number brings with it: sealing. It returns how many
// bytes are written an event. After every hundred pages the same bytes are appended to a plain file, so that both meet the same machine.
func (sc *scale) ingest(bm *testing.B, plain *os.File) float64 {
	before, id, wrote := sc.writes(), sc.txid(), written(bm)
	var used, took, plainly time.Duration
	var appended int64
	for done := 0; done < bm.N; {
		n := min(100, bm.N-done)
		began, cpuBefore := time.Now(), cpu()
		for i := range n {
			sc.commit(strconv.Itoa(done+i), sc.fill(100, "page", sc.body)...)
		}
		if err := sc.Ping(context.Background()); err != nil { // the writer has nothing left to do beside us
			bm.Fatal(err)
		}
		took += time.Since(began)
		used += cpu() - cpuBefore
		began = time.Now()
		appended += sc.appendPlainly(bm, plain, n)
		plainly += time.Since(began)
		done += n
	}
	n := float64(100 * bm.N)
	pages := float64(sc.writes()-before) / float64(sc.txid()-id)
	bytes := float64(written(bm)-wrote-appended) / n
	spent := float64(used.Nanoseconds()) / 1000 / n
	bm.ReportMetric(0, "ns/op") // of both together
	bm.ReportMetric(n/took.Seconds(), "events/s")
	bm.ReportMetric(plainly.Seconds()/took.Seconds(), "of-plain")
	bm.ReportMetric(bytes, "bytes/event")
	bm.ReportMetric(pages, "pages/tx")
	bm.ReportMetric(spent, "cpu-µs/event")
	if bm.N >= 1000 && (bytes > maxBytesPerEvent || pages > maxPagesPerTx || spent > 1.5*maxIngestCPU) {
		bm.Errorf("%.0f bytes an event (at most %d), %.1f pages a transaction (at most %d), %.1f µs of CPU an event (at most %d)",
			bytes, maxBytesPerEvent, pages, maxPagesPerTx, spent, maxIngestCPU)
	}
	return bytes
}

// appendPlainly appends the bytes of n pages to a file, with one sync a page.
func (sc *scale) appendPlainly(bm *testing.B, f *os.File, n int) (size int64) {
	var page []byte
	for range n {
		page = page[:0]
		for _, ev := range sc.fill(100, "page", sc.body) {
			page = append(append(page, ev.ID...), ev.Data...)
		}
		if _, err := f.Write(page); err != nil {
			bm.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			bm.Fatal(err)
		}
		size += int64(len(page))
	}
	return size
}

// written is how many bytes this process has written.
func written(t testing.TB) int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err)
	}
	var n int64
	_, rest, _ := strings.Cut(string(text), "wchar:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// hundredOfEach hands out a hundred events to each of the three sinks.
func (sc *scale) hundredOfEach() (all []event.Delivery) {
	for _, sink := range []string{"a", "b", "c"} {
		all = append(all, sc.next(sink, 100, 0).Deliveries...)
	}
	return all
}

// part brings the three sinks as far apart as there is room.
func (sc *scale) part() {
	sc.t.Helper()
	sc.quick(true)
	third := int(sc.sink("a").Owed) / 3
	for n, sink := range []string{"b", "c"} {
		for left := third * (n + 1); left > 0; {
			all := sc.next(sink, min(left, 100), 0).Deliveries
			sc.settle(event.Delivered, 0, all...)
			left -= len(all)
		}
	}
	sc.quick(false)
}

// settle300 settles the first attempts at 100 events of each of three sinks in one call.
func (sc *scale) settle300(bm *testing.B) {
	sc.settled() // no sealing meanwhile
	writes := int64(0)
	n := min(bm.N, 100)
	for range n {
		all := sc.hundredOfEach()
		if len(all) != 300 {
			bm.Skipf("only %d are owed", len(all))
		}
		before := sc.writes()
		sc.settle(event.Delivered, 0, all...)
		writes += sc.writes() - before
	}
	pages := float64(writes) / float64(n)
	bm.ReportMetric(0, "ns/op")
	bm.ReportMetric(pages, "pages/tx")
	if n == 100 && pages > maxSettlePages {
		bm.Errorf("settling 300 takes %.1f pages, more than %d", pages, maxSettlePages)
	}
}

// drain delivers all that is owed, and lets it be collected.
func (sc *scale) drain() {
	sc.t.Helper()
	sc.quick(true)
	for _, sink := range []string{"behind", "a", "b", "c"} {
		for {
			due := sc.next(sink, 2000, 0)
			if len(due.Deliveries) == 0 && !due.More {
				break
			}
			sc.settle(event.Delivered, 0, due.Deliveries...)
		}
		if k := sc.sink(sink); k.Owed > 0 {
			sc.t.Fatalf("%+v", k)
		}
	}
	sc.settled()
	sc.quick(false)
}

// opened is what a process says that has opened a store, and then taken some pages in.
type opened struct {
	CPU       time.Duration // from the start of the process until the store is open
	Wall      time.Duration // of the opening
	Heap      uint64        // after a collection
	Anonymous int64         // right after the opening
	Working   int64         // anonymous, after the pages
}

const scaleEnv = "TIDINGS_SCALE_STORE"

func openInAProcess(bm *testing.B, path string, made uint64) (o opened) {
	c := exec.Command(os.Args[0], "-test.run=^TestScaleOpened$", "-test.v")
	c.Env = append(os.Environ(), scaleEnv+"="+path, "TIDINGS_SCALE_MADE="+strconv.FormatUint(made, 10))
	out, err := c.CombinedOutput()
	if err != nil {
		bm.Fatalf("%v: %s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "opened ")
	text, _, _ = strings.Cut(text, "\n")
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		bm.Fatalf("%v: %s", err, out)
	}
	return o
}

func (o opened) report(bm *testing.B) {
	bm.ReportMetric(0, "ns/op")
	bm.ReportMetric(o.CPU.Seconds(), "cpu-s")
	bm.ReportMetric(o.Wall.Seconds(), "wall-s")
	bm.ReportMetric(float64(o.Heap)/(1<<20), "heap-MB")
	bm.ReportMetric(float64(o.Anonymous)/(1<<20), "anonymous-MB")
	bm.ReportMetric(float64(o.Working)/(1<<20), "working-anonymous-MB")
	if o.Heap > maxHeap || o.Anonymous > maxAnonymous || o.Working > maxAnonymous || o.CPU > maxStartCPU*3/2 {
		bm.Errorf("heap %s, anonymous %s and %s, start %v of CPU", bytesText(int64(o.Heap)), bytesText(o.Anonymous), bytesText(o.Working), o.CPU)
	}
}

// TestScaleOpened is BenchmarkScale's process that opens the store.
func TestScaleOpened(t *testing.T) {
	path := os.Getenv(scaleEnv)
	if path == "" {
		t.Skip("it is a part of BenchmarkScale")
	}
	made, err := strconv.ParseUint(os.Getenv("TIDINGS_SCALE_MADE"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var o opened
	began := time.Now()
	s, err := Open(path, scaleOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o.Wall, o.CPU, o.Anonymous = time.Since(began), cpu(), anonymous(t)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	o.Heap = m.HeapAlloc
	sc := &scale{bench: &bench{Store: s, t: t}, n: made, body: make([]byte, 850)}
	sc.apply(scaleTopology())
	for i := range 500 {
		sc.commit(strconv.Itoa(i), sc.fill(100, "page", sc.body)...)
		sc.settle(event.Delivered, 0, sc.hundredOfEach()...)
	}
	o.Working = anonymous(t)
	text, _ := json.Marshal(o)
	fmt.Printf("opened %s\n", text)
}

// anonymous is how much memory this process has that no file stands behind.
func anonymous(t *testing.T) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		t.Skip("/proc/self/status has no RssAnon")
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
