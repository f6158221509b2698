package event

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFilterMatch(t *testing.T) {
	for _, c := range []struct {
		globs Filter
		name  string
		want  bool
	}{
		{Filter{"*"}, "anything.at.all", true},
		{Filter{"*"}, "", true},
		{Filter{}, "x", false},
		{Filter{"tariff.*"}, "tariff.fetch.failed", true},
		{Filter{"tariff.*"}, "tariff", false},
		{Filter{"tariff.*"}, "xtariff.fetch", false},
		{Filter{"*.failed"}, "tariff.fetch.failed", true},
		{Filter{"*.failed"}, "tariff.failed.not", false},
		{Filter{"a*b*c"}, "aXbYc", true},
		{Filter{"a*b*c"}, "abc", true},
		{Filter{"a*b*c"}, "acb", false},
		{Filter{"ab*ba"}, "aba", false}, // the two ends may not share a character
		{Filter{"a**c"}, "abc", true},
		{Filter{"location.update"}, "location.update", true},
		{Filter{"location.update"}, "location.updated", false},
		{Filter{"x", "y.*"}, "y.z", true},
	} {
		if got := c.globs.Match(c.name); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.globs, c.name, got, c.want)
		}
	}
}

func TestSecretNeverShows(t *testing.T) {
	s := NewSecret("hunter2-hunter2")
	type holder struct {
		S  Secret
		P  *Secret
		M  map[string]Secret
		In []Secret
	}
	h := holder{s, &s, map[string]Secret{"k": s}, []Secret{s}}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "s", s, "h", h)
	shown := []string{string(j), log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, h))
	}
	for _, text := range shown {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("the secret shows in %s", text)
		}
	}
	if s.Reveal() != "hunter2-hunter2" {
		t.Error("Reveal lost the text")
	}
}

func TestRedact(t *testing.T) {
	key, short := NewSecret("p@ss/word+1"), NewSecret("abc")
	got := Redact("body says p@ss/word+1, url says p%40ss%2Fword%2B1, abc stays", key, short, Secret{})
	want := "body says [redacted], url says [redacted], abc stays"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Progress
		if p.Overdue() {
			t.Error("overdue without a promise")
		}
		p.Within(time.Minute)
		time.Sleep(59 * time.Second)
		if p.Overdue() {
			t.Error("overdue before its time")
		}
		time.Sleep(2 * time.Second)
		if !p.Overdue() {
			t.Error("not overdue after its time")
		}
		p.Rest()
		if p.Overdue() {
			t.Error("overdue at rest")
		}
	})
}
