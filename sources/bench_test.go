package sources

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sys/unix"
)

// cpu is the CPU time that the process has taken, its garbage collector's with it.
func cpu(b *testing.B) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &at); err != nil {
		b.Fatal(err)
	}
	return time.Duration(at.Nano())
}

// eventOf800 is an event of 800 bytes as APIs have them: some members, a resource, and text.
func eventOf800(i int) string {
	item := fmt.Sprintf(`{"id":"evt_%024d","object":"event","time_created":"2026-01-02T03:04:%02dZ","type":"location.update","data":{`, i, i%60) +
		`"id":"loc_000000000000000000000001","object":"location","live_mode":true,"account_id":"acc_000000000000000000000001",` +
		`"address":{"street":"1 High Street","city":"London","post_code":"AB1 2CD","country_code":"GB"},"supplies":[{"kind":"electricity","value":12.5},` +
		`{"kind":"gas","value":7}],"connected":null,"note":"`
	return item + strings.Repeat("x", 800-len(item)-3) + `"}}`
}

// BenchmarkPage splits and identifies a page of 100 events of 800 bytes, in turn with walking the same bytes with the JSON library
// alone: checking the document and visiting each item. The metric x-gjson says how many times the CPU it takes; it is to be 1.5 at most.
func BenchmarkPage(b *testing.B) {
	var items []string
	for i := range 100 {
		items = append(items, eventOf800(i))
		if len(items[i]) != 800 {
			b.Fatal(len(items[i]))
		}
	}
	body := list(items...)
	l := flatpeakLister(b, nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var ours, theirs time.Duration
	for b.Loop() {
		begun := cpu(b)
		page, err := l.page(body, place{size: 100}, time.Time{})
		ours += cpu(b) - begun
		if err != nil || len(page.Events) != 100 || len(page.Events[7].Data) != 800 || page.Hashed > 0 {
			b.Fatal(len(page.Events), err)
		}
		begun = cpu(b)
		n := 0
		if gjson.Valid(body) {
			gjson.Parse(body).Get("data").ForEach(func(_, item gjson.Result) bool { n += len(item.Raw); return true })
		}
		theirs += cpu(b) - begun
		if n != 80_000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(ours)/float64(theirs), "x-gjson")
}
