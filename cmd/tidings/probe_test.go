package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/recipe"
	"tidings/simulator"
)

// probing is a place to probe one preset at: its simulated API, which can be shut, and a site with a configuration.
type probing struct {
	*site
	api    simulator.API
	server *httptest.Server
	with   map[string]string
}

func newProbing(t *testing.T, preset, settings string) *probing {
	t.Helper()
	found, err := findSimulated([]string{preset})
	if err != nil {
		t.Fatal(err)
	}
	api := found[0].New(simulator.Options{Seed: 7})
	p := &probing{site: &site{t: t, dir: shortDir(t)}, api: api, server: httptest.NewServer(api)}
	t.Cleanup(p.server.Close)
	p.with = api.With(p.server.URL)
	p.write(fmt.Sprintf("sources:\n  it: {preset: %s, with: %s, %s}\n", preset, withLine(p.with), settings))
	return p
}

func (p *probing) write(sources string) {
	p.t.Helper()
	text := sources + "sinks:\n  archive: {file: {path: all.jsonl}}\n  some: {file: {path: some.jsonl}, events: [nothing]}\n"
	if err := os.WriteFile(p.path("config.yaml"), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// probe probes the source and returns the report.
func (p *probing) probe(args ...string) (code int, r probeReport) {
	p.t.Helper()
	code, stdout, stderr := p.tidings(append([]string{"probe", "--json"}, args...)...)
	if stdout == "" {
		p.t.Fatalf("probe %v exited with %d and said nothing but %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		p.t.Fatalf("%v: %s", err, stdout)
	}
	return code, r
}

// files gives the content of every file in a directory of the site.
func (p *probing) files(dir string) map[string]string {
	p.t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(p.path(dir))
	if err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(p.path(dir), e.Name()))
		if err != nil {
			p.t.Fatal(err)
		}
		all[e.Name()] = string(content)
	}
	return all
}

// secrets are the values that the preset calls secret.
func (p *probing) secrets(preset string) []string {
	found, err := recipe.Find(preset)
	if err != nil {
		p.t.Fatal(err)
	}
	var secrets []string
	for name, param := range found.With {
		if value := p.with[name]; param.Secret && value != "" {
			secrets = append(secrets, value)
		}
	}
	return secrets
}

// alike is a report without what tells one probe from the other of the same answers: where it came from, and ids that are drawn.
func alike(r probeReport) string {
	r.From, r.Saved = "", ""
	for i := range r.Steps {
		if p := r.Steps[i].Page; p != nil {
			p.Clock, p.Since, p.Until = nil, nil, nil // a window ends at the time of asking
		}
	}
	if strings.Contains(string(r.After.Stored), `"epoch"`) && !r.Before.Polled {
		r.After.Stored = nil
	}
	text, _ := json.Marshal(r)
	return string(text)
}

// Each preset's API, before its first poll, after it, and when there is something new. Nothing of it is to be seen at the API, but for the
// requests, or in the store; and what is saved tells the same again when the API is gone.
func TestProbeEveryPreset(t *testing.T) {
	for _, preset := range simulatedNames() {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			p := newProbing(t, preset, "start: earliest")
			p.server.Config.SetKeepAlivesEnabled(false)
			p.api.Backfill(30, 24*time.Hour)

			code, first := p.probe("it")
			if n := len(first.Events); code != 0 || n == 0 || first.Counts[verdictNew] == 0 || first.Sinks["archive"] != first.Counts[verdictNew] || first.Before.Polled || !first.After.Polled {
				t.Errorf("the first probe exited with %d: %d events, %v, %v, %s", code, n, first.Counts, first.Sinks, first.Error)
			}
			if _, err := os.Stat(p.path("tidings-data")); err == nil {
				t.Error("a probe made a store")
			}
			if code, _, stderr := p.tidings("once"); code != 0 {
				t.Fatalf("once exited with %d: %s", code, stderr)
			}
			if lines := len(p.lines("all.jsonl")); lines != first.Counts[verdictNew] {
				t.Errorf("the probe said that %d events are new, and then %d were", first.Counts[verdictNew], lines)
			}
			stored, acked := p.files("tidings-data"), p.api.Stats().Acked
			code, again := p.probe("it")
			fills := preset == "openvolt" // the API has more of the last days a moment later
			if code != 0 || again.Counts[verdictNew] != 0 && !fills || again.Counts[verdictUndecided] != 0 || !again.Before.Polled {
				t.Errorf("the second probe exited with %d: %v %s", code, again.Counts, again.Error)
			}
			p.api.Add(5)
			time.Sleep(1100 * time.Millisecond) // for APIs whose windows end at whole seconds
			code, last := p.probe("it", "--save", p.path("saved"))
			if code != 0 || last.Counts[verdictNew] == 0 && !fills {
				t.Errorf("the third probe exited with %d: %v %s", code, last.Counts, last.Error)
			}
			if !maps.Equal(stored, p.files("tidings-data")) {
				t.Error("a probe changed what stands in the store's directory")
			}
			if now := p.api.Stats().Acked; now != acked {
				t.Errorf("probes acknowledged %d events", now-acked)
			}

			p.server.Close()
			saved := p.files("saved")
			for name, content := range saved {
				for _, secret := range p.secrets(preset) {
					if strings.Contains(content, secret) {
						t.Errorf("%s has a secret in it", name)
					}
				}
				if info, err := os.Stat(p.path("saved/" + name)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s has the mode %v, %v", name, info.Mode(), err)
				}
			}
			if err := os.Remove(p.path("config.yaml")); err != nil {
				t.Fatal(err)
			}
			code, replayed := p.probe("--from", p.path("saved"))
			if a, b := alike(last), alike(replayed); code != 0 || a != b {
				t.Errorf("the recording exited with %d and tells\n%s\nwhere the probe told\n%s", code, b, a)
			}
			if !maps.Equal(saved, p.files("saved")) {
				t.Error("polling a recording changed it")
			}
		})
	}
}

func TestProbeTellsHistoryAndWhatIsFilteredOut(t *testing.T) {
	p := newProbing(t, "flatpeak", `start: now, events: ["tariff.*"]`)
	p.api.Backfill(130, 24*time.Hour)
	code, r := p.probe("it")
	if code != 0 || r.Counts[verdictHistory] == 0 || r.Counts[verdictHistory] != len(r.Events) {
		t.Errorf("exit code %d: %v", code, r.Counts)
	}
	if code, _, stderr := p.tidings("once"); code != 0 {
		t.Fatal(stderr)
	}
	p.api.AddAt(time.Now().Add(2*time.Second), "tariff.expired", "customer.create", "tariff.expiring")
	code, r = p.probe("it")
	if code != 0 || r.Counts[verdictNew] != 2 || r.Counts[verdictFiltered] != 1 || r.Sinks["archive"] != 2 || r.Sinks["some"] != 0 {
		t.Errorf("exit code %d: %v, %v", code, r.Counts, r.Sinks)
	}
	code, text, _ := p.tidings("probe", "it")
	for _, want := range []string{"Nothing is written, delivered or acknowledged", "a login, whose answer is not shown", "not among events: [tariff.*]", "The next position would be"} {
		if code != 0 || !strings.Contains(text, want) {
			t.Errorf("exit code %d, and %q is not in\n%s", code, want, text)
		}
	}
	if strings.Contains(text, simulatedKey) {
		t.Error("the key is shown")
	}
}

func TestProbeBesideARunningDaemon(t *testing.T) {
	p := newProbing(t, "svix", "start: earliest, every: 1h")
	p.api.Backfill(10, time.Hour)
	d := p.start()
	p.eventually("the first poll", func() bool { return len(p.lines("all.jsonl")) == 10 })
	p.api.Add(2)
	code, r := p.probe("it")
	if code != 0 || r.Counts[verdictNew] != 2 || !r.Before.Polled {
		t.Errorf("exit code %d: %v, %s", code, r.Counts, r.Error)
	}
	if n := len(p.lines("all.jsonl")); n != 10 {
		t.Errorf("the probe delivered: %d events in the file", n)
	}
	d.stop()
}

// A seek, and a request for a second page, move the position that the API keeps of a consumer.
func TestProbeMovesNoConsumer(t *testing.T) {
	p := newProbing(t, "svix-consumer", "start: now")
	p.api.Backfill(600, time.Hour)
	code, r := p.probe("it")
	text, _ := json.Marshal(r.Steps)
	if requests := p.api.Stats().Requests; code != 0 || requests != 1 || !strings.Contains(string(text), "the daemon would first move the position") ||
		!strings.Contains(string(text), "another page would move the position") || r.Complete {
		t.Errorf("exit code %d after %d requests: %s", code, requests, text)
	}
}

func TestProbeEndsAfterSomePages(t *testing.T) {
	for _, c := range []struct {
		preset string
		listed int
	}{{"flatpeak", 200}, {"svix", 250}} { // of svix the first page has an iterator alone
		p := newProbing(t, c.preset, "start: earliest")
		p.api.Backfill(1000, time.Hour)
		code, r := p.probe("it", "--pages", "2")
		if code != 0 || len(r.Events) != c.listed || r.Counts[verdictNew] != c.listed || r.Complete {
			t.Errorf("%s: exit code %d: %v, complete: %t", c.preset, code, r.Counts, r.Complete)
		}
	}
}

func TestProbeOfAnAPIThatRefuses(t *testing.T) {
	for _, c := range []struct {
		status int
		header string
		code   int
		health string
		wait   float64
	}{
		{http.StatusTooManyRequests, "90", exitTempFail, "limited", 90},
		{http.StatusUnauthorized, "", exitFailed, "refused", 0},
		{http.StatusInternalServerError, "", exitFailed, "failing", 0},
	} {
		p := &probing{site: &site{t: t, dir: shortDir(t)}}
		p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.Header().Set("Set-Cookie", "session=cookie-of-theirs")
			w.WriteHeader(c.status)
			fmt.Fprintf(w, `{"error": "no, %s, %s"}`, r.Header.Get("Authorization"), r.URL.Query().Get("key"))
		}))
		defer p.server.Close()
		t.Setenv("PROBE_TOKEN", "token-of-the-environment")
		p.write("sources:\n  it:\n    http: {url: \"" + p.server.URL + "/events\", query: {key: plain-key-of-ours}, auth: {bearer: \"${env:PROBE_TOKEN}\"}, position: head_walk, id: id}\n")
		code, r := p.probe("it", "--save", p.path("saved"))
		if code != c.code || r.Health != c.health || r.Wait != c.wait || r.Error == "" || r.After.Polled && len(r.Events) > 0 {
			t.Errorf("%d: exit code %d, %s, %v, %s", c.status, code, r.Health, r.Wait, r.Error)
		}
		for name, content := range p.files("saved") {
			for _, secret := range []string{"token-of-the-environment", "plain-key-of-ours", "cookie-of-theirs"} {
				if strings.Contains(content, secret) {
					t.Errorf("%d: %s has %s in it:\n%s", c.status, name, secret, content)
				}
			}
		}
		p.server.Close()
		if again, r2 := p.probe("--from", p.path("saved")); again != code || r2.Health != c.health || r2.Wait != c.wait || r2.Error != strings.ReplaceAll(r.Error, "plain-key-of-ours", "[redacted]") {
			t.Errorf("%d: the recording exits with %d: %s, not %s", c.status, again, r2.Error, r.Error)
		}
	}
}

func TestProbeOfAProgram(t *testing.T) {
	p := &probing{site: &site{t: t, dir: shortDir(t)}}
	p.script("list.sh", `echo run >>"$(dirname "$0")/runs.txt"
[ -e "$(dirname "$0")/wrong" ] && { echo "no: $SECRET" >&2; exit 75; }
echo '{"events": [{"id": "a", "type": "x", "time": "2026-01-02T03:04:05Z", "note": "'$SECRET'"}, {"id": "b"}], "position": "2"}'`)
	p.write("sources:\n  it: {exec: {command: [" + p.path("list.sh") + "], env: {SECRET: tell-nobody}}, start: earliest}\n")
	code, r := p.probe("it", "--save", p.path("saved"))
	if code != 0 || r.Counts[verdictNew] != 2 || !strings.Contains(string(r.After.Stored), `"cursor":"2"`) {
		t.Errorf("exit code %d: %v %s %s", code, r.Counts, r.Error, r.After.Stored)
	}
	for name, content := range p.files("saved") {
		if strings.Contains(content, "tell-nobody") {
			t.Errorf("%s has a secret in it", name)
		}
	}
	code, again := p.probe("--from", p.path("saved"))
	if a, b := alike(r), alike(again); code != 0 || a != b {
		t.Errorf("exit code %d:\n%s\n%s", code, b, a)
	}
	if runs := p.words("runs.txt")["run"]; runs != 1 {
		t.Errorf("the program ran %d times", runs)
	}
	if err := os.WriteFile(p.path("wrong"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, r := p.probe("it"); code != exitTempFail || !strings.Contains(r.Error, "it asks to be run later") || strings.Contains(r.Error, "tell-nobody") {
		t.Errorf("exit code %d: %s", code, r.Error)
	}
}

func TestRecordingsThatAreNone(t *testing.T) {
	p := newProbing(t, "github", "start: earliest")
	p.api.Backfill(3, time.Hour)
	if code, _ := p.probe("it", "--save", p.path("saved")); code != 0 {
		t.Fatal(code)
	}
	if code, _, stderr := p.tidings("probe", "it", "--save", p.path("saved")); code != exitUsage || !strings.Contains(stderr, "is not empty") {
		t.Errorf("a directory that is not empty: %d, %s", code, stderr)
	}
	good := p.files("saved")
	for name, c := range map[string]struct {
		change map[string]string // a file's new content; "-" removes it
		want   string
	}{
		"empty":            {map[string]string{"probe.json": "-"}, "there is no probe.json in it"},
		"foreign":          {map[string]string{"probe.json": "hello"}, "not JSON as a probe writes it"},
		"newer":            {map[string]string{"probe.json": `{"format": 9}`}, "it has format 9, and this program"},
		"unknown key":      {map[string]string{"probe.json": `{"format": 1, "colour": "red"}`}, "not as a probe writes it"},
		"nothing said":     {map[string]string{"probe.json": `{"format": 1}`}, "does not say what was polled"},
		"a recipe is none": {map[string]string{"probe.json": strings.Replace(good["probe.json"], `"head_walk"`, `"run"`, 1)}, "can't be polled"},
		"cut":              {map[string]string{"exchange-1.txt": "-"}, "the recording is not whole"},
		"broken":           {map[string]string{"exchange-1.txt": "{\"status\": 200}\n[]"}, "does not tell an exchange"},
		"one line":         {map[string]string{"exchange-1.txt": "[]"}, "no line of JSON"},
	} {
		dir := t.TempDir()
		for file, content := range good {
			if new, changed := c.change[file]; changed {
				content = new
			}
			if content == "-" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, stdout, stderr := p.tidings("probe", "--from", dir)
		if code == 0 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d: %s", name, code, stderr)
		}
	}
	for _, args := range [][]string{{}, {"it", "that"}, {"that"}, {"it", "--from", "x"}, {"--from", "nowhere"}, {"it", "--pages", "0"}} {
		if code, _, stderr := p.tidings(append([]string{"probe"}, args...)...); code != exitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(good)), []string{"README.txt", "exchange-1.txt", "probe.json"}) {
		t.Errorf("the recording has %v", slices.Sorted(maps.Keys(good)))
	}
}

// Whatever stands in a recording, it is refused or polled: nothing panics, nobody is asked, no program is started.
func FuzzRecording(f *testing.F) {
	f.Add([]byte(`{"format":1,"source":"a","at":"2026-01-02T03:04:05Z","pages":2,"on_lost_position":"stop","exchanges":1,"http":{"URL":"http://127.0.0.1:1/","Position":"head_walk","ID":"id","Time":"at"}}`),
		[]byte("{\"request\":\"GET x\",\"key\":\"k\",\"status\":200}\n[{\"id\":1,\"at\":1}]"))
	f.Add([]byte(`{"format":1,"source":"a","at":"2026-01-02T03:04:05Z","pages":2,"on_lost_position":"from_time","exchanges":1,"exec":{"program":"/bin/false"}}`),
		[]byte("{\"request\":\"x\",\"key\":\"position \",\"program\":true}\n[{\"id\":1}]"))
	f.Add([]byte(`{"format":1,"source":"a","at":"2026-01-02T03:04:05Z","pages":9,"on_lost_position":"from_now","exchanges":1,"position":{"v":1,"kind":"time_window"},"http":{"URL":"http://127.0.0.1:1/","Position":"time_window","Window":{"Since":"s"},"ID":"id","Time":"at"}}`),
		[]byte("{\"request\":\"GET x\",\"key\":\"k\",\"status\":500,\"error\":\"gone\"}\n"))
	f.Fuzz(func(t *testing.T, recorded, exchange []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordingFile), recorded, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, exchangeFile(0)), exchange, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := probeAgain(t.Context(), dir, 5)
		if err != nil {
			return
		}
		var out strings.Builder
		if err := printProbe(&out, r); err != nil || strings.ContainsAny(out.String(), "\x1b\x00\r") {
			t.Errorf("%v: %q", err, out.String())
		}
	})
}
