package sinks

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tidings/dispatch"
	"tidings/event"
)

var received = time.Date(2026, 11, 21, 21, 0, 0, 5, time.UTC)

func sample(id, data string) event.Event {
	return event.Event{Source: "flatpeak", ID: id, Type: "tariff.fetch.failed", Time: received.Add(-time.Minute).Truncate(time.Second), Received: received, Data: []byte(data)}
}

func owed(events ...event.Event) []event.Delivery {
	var batch []event.Delivery
	for i, e := range events {
		batch = append(batch, event.Delivery{Seq: uint64(i + 1), Sink: "s", Event: e})
	}
	return batch
}

// want checks that there is one result, of this verdict.
func want(t *testing.T, results []dispatch.Result, verdict dispatch.Verdict) dispatch.Result {
	t.Helper()
	if len(results) != 1 {
		t.Fatalf("%d results, want 1", len(results))
	}
	if results[0].Verdict != verdict || verdict == dispatch.Done && results[0].Reason != "" || verdict != dispatch.Done && results[0].Reason == "" {
		t.Errorf("verdict %d with reason %q, want verdict %d", results[0].Verdict, results[0].Reason, verdict)
	}
	return results[0]
}

func TestEnvelope(t *testing.T) {
	data := "{ \"n\": 1.10e+2,\n\t\"big\": 12345678901234567890, \"s\": \"<&>\u2028\\u2028\\/\" }"
	got := Envelope.body(sample(`a"<b>`, data))
	if want := `{"id":"a\"<b>","source":"flatpeak","type":"tariff.fetch.failed","time":"2026-11-21T20:59:00Z","received_at":"2026-11-21T21:00:00.000000005Z","data":` +
		data + `}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e := sample("1", "no json\n")
	e.Time = time.Time{}
	if got := string(Envelope.body(e)); !strings.Contains(got, `"time":null`) || !strings.HasSuffix(got, `"data":"no json\n"}`) {
		t.Errorf("got %s", got)
	}
}

func TestLineLosesOnlyWhiteSpaceBetweenTokens(t *testing.T) {
	for data, want := range map[string]string{
		"{ \"n\" : 1.10e+2 ,\r\n\t\"big\": 12345678901234567890 }": `{"n":1.10e+2,"big":12345678901234567890}`,
		`{"s": "a  b <&> ` + "\u2028" + ` \u2028 \/ é"}`:           `{"s":"a  b <&> ` + "\u2028" + ` \u2028 \/ é"}`,
		`{"a": 1, "a": 2}`: `{"a":1,"a":2}`,
		"broken\n{":        `"broken\n{"`,
		"":                 `""`,
	} {
		if got := string(Raw.line(sample("1", data))); got != want+"\n" {
			t.Errorf("%q became %q, want %q", data, got, want+"\n")
		}
	}
}

func FuzzLineIsOneValueInOneLine(f *testing.F) {
	f.Add("{ \"n\" : 1.10 }\n")
	f.Add("broken\n{")
	f.Add("\"\u2028\xff\"")
	f.Fuzz(func(t *testing.T, data string) {
		for _, format := range []Format{Raw, Envelope} {
			line := format.line(sample(data, data))
			if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' || !json.Valid(line) {
				t.Fatalf("%q became %q", data, line)
			}
			// Without white space outside of strings, nothing else is gone.
			if format == Raw && json.Valid([]byte(data)) && string(stripped(line)) != string(stripped([]byte(data))) {
				t.Fatalf("%q became %q", data, line)
			}
		}
	})
}

// stripped leaves out white space outside of strings.
func stripped(b []byte) []byte {
	var out []byte
	inString := false
	for i := 0; i < len(b); i++ {
		c := b[i]
		if inString && c == '\\' {
			out = append(out, c, b[i+1])
			i++
			continue
		}
		if c == '"' {
			inString = !inString
		}
		if inString || !strings.ContainsRune(" \t\r\n", rune(c)) {
			out = append(out, c)
		}
	}
	return out
}

func TestWebhookID(t *testing.T) {
	long := strings.Repeat("x", 128)
	for _, id := range []string{"evt_1", "A-z_9", "17", long} {
		if got := webhookID(sample(id, "")); got != id {
			t.Errorf("%q became %q", id, got)
		}
	}
	seen := map[string]bool{}
	for _, id := range []string{"", "a.b", "a b", "é", long + "x", "a\n"} {
		got := webhookID(sample(id, ""))
		if !regexp.MustCompile(`^evt_[a-z2-7]{52}$`).MatchString(got) || seen[got] {
			t.Errorf("%q became %q", id, got)
		}
		seen[got] = true
		other := sample(id, "")
		other.Source = "other"
		if webhookID(other) == got {
			t.Errorf("%q has one webhook-id in two sources", id)
		}
	}
}

func FuzzHeaderText(f *testing.F) {
	f.Add("a b%20\r\nx: y")
	f.Add("é\x00\x7f\"+")
	f.Fuzz(func(t *testing.T, s string) {
		got := headerText(s)
		for _, c := range []byte(got) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if back, err := url.PathUnescape(got); err != nil || back != s {
			t.Fatalf("%q became %q, which is %q (%v)", s, got, back, err)
		}
		if id := webhookID(sample(s, "")); !regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`).MatchString(id) {
			t.Fatalf("%q has webhook-id %q", s, id)
		}
	})
}

func TestAnswerKeepsTheEndAndNoSecret(t *testing.T) {
	secret := event.NewSecret("hunter2/hunter2")
	a := &answer{secrets: []event.Secret{secret}}
	for range 20000 {
		_, _ = a.Write([]byte(secret.Reveal() + " é\xff"))
	}
	_, _ = a.Write([]byte("the end"))
	got := a.String()
	if len(got) > answerLimit+8 || len(got) < answerLimit/2 || !strings.HasSuffix(got, "the end") || !utf8.ValidString(got) {
		t.Errorf("%d bytes, …%q", len(got), got[len(got)-20:])
	}
	if strings.Contains(got, "hunter") || strings.Contains(got, "unter2") {
		t.Error("a secret shows")
	}
}

func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "one": "one", "one\ntwo\n\n": "two", "a\r\nb\x1b[31m": "b [31m", strings.Repeat("é", 300): strings.Repeat("é", 200) + "…",
	} {
		if got := lastLine(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}
