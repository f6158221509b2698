package recipe

import (
	"testing"
	"time"
)

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", time.Minute: "1m", 90 * time.Minute: "1h30m", 36 * time.Hour: "36h", 14 * day: "14d",
		time.Hour + time.Second: "1h0m1s", -time.Hour: "-1h", 100 * time.Millisecond: "100ms",
	} {
		got := FormatDuration(d)
		if got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
		if again, err := Duration(got); again != d || err != nil {
			t.Errorf("%s is read as %v: %v", got, again, err)
		}
	}
}
