package simulator

import (
	"testing"
	"time"
)

// BenchmarkPage lists pages of 100 from the middle of 100,000 events.
func BenchmarkPage(b *testing.B) {
	f := NewFlatpeak(Options{})
	f.Backfill(100_000, 24*time.Hour)
	all := func(*entry) bool { return true }
	middle := f.Events()[50_000].ID
	b.ReportAllocs()
	for b.Loop() {
		if page, _, ok := f.newestFirst(cursorQuery{limit: 100, after: middle, wants: all}); !ok || len(page) != 100 {
			b.Fatal(len(page))
		}
	}
}

// BenchmarkAddLate adds events behind the head of 100,000.
func BenchmarkAddLate(b *testing.B) {
	f := NewFlatpeak(Options{})
	f.Backfill(100_000, 24*time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		f.AddLate(12 * time.Hour)
	}
}
