package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tidings/config"
	"tidings/recipe"
	"tidings/simulator"
)

// What a user does first: the simulated API in one terminal, and in another the daemon with the configuration that the
// simulator printed. Here it gets three sinks. Each simulated event reaches each of them, once.
func TestSimulateAndRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	sim := exec.Command("tidings", "simulate", "--preset", "flatpeak", "--listen", "127.0.0.1:0", "--events", "150", "--rate", "5")
	stdout, err := sim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sim.Process.Kill()
		_ = sim.Wait()
	})
	var printed []string
	for sc := bufio.NewScanner(stdout); sc.Scan(); {
		printed = append(printed, sc.Text())
		if strings.Contains(sc.Text(), "path: events/") {
			break
		}
	}
	text := strings.Join(printed, "\n")
	_, url, _ := strings.Cut(text, `base_url: "`)
	url, _, _ = strings.Cut(url, `"`)
	_, config, found := strings.Cut(text, "\nsources:")
	if !found {
		t.Fatalf("no configuration is printed:\n%s", text)
	}
	s.script("on-event.sh", `cat >/dev/null; echo "$TIDINGS_EVENT_ID" >>"$(dirname "$0")/ids.txt"`)
	config = "sources:" + strings.ReplaceAll(config, "%Y-%m-%d", "all") +
		"\n  app: {http: {url: \"" + s.appURL + "\"}}\n  script: {exec: {command: [/bin/sh, on-event.sh]}}\n"
	if lines := strings.Count(config, "\n"); lines > 12 {
		t.Errorf("the configuration has %d lines:\n%s", lines, config)
	}
	if err := os.WriteFile(s.path("config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	d := s.start()
	var ids []string
	s.eventually("events to arrive", func() bool { ids = simulatedIDs(t, url); return len(ids) > 160 })
	for _, sink := range []struct {
		name string
		got  func() map[string]int
	}{
		{"the file", func() map[string]int { return s.lines("events/all.jsonl") }},
		{"the endpoint", s.received},
		{"the program", func() map[string]int { return s.words("ids.txt") }},
	} {
		s.eventually("every event at "+sink.name, func() bool {
			got := sink.got()
			return !slices.ContainsFunc(ids, func(id string) bool { return got[id] == 0 })
		})
		for id, n := range sink.got() {
			if n != 1 {
				t.Errorf("%s has %s %d times", sink.name, id, n)
			}
		}
	}
	d.stop()
}

// simulatedIDs asks the simulator for the ids of all its events.
func simulatedIDs(t *testing.T, url string) []string {
	t.Helper()
	resp, err := http.Get(url + "/_simulator/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var ids []string
	for dec := json.NewDecoder(resp.Body); dec.More(); {
		var e struct{ ID string }
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// Each preset has an API to try it against, which says what the preset asks for, and no more.
func TestEveryPresetIsSimulated(t *testing.T) {
	if !slices.Equal(recipe.Names(), simulatedNames()) {
		t.Errorf("there are the presets %v, and simulated are %v", recipe.Names(), simulatedNames())
	}
	for _, s := range simulator.APIs() {
		preset, err := recipe.Find(s.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		with := s.New(simulator.Options{}).With("http://127.0.0.1:1")
		for name, param := range preset.With {
			if _, given := with[name]; param.Required && !given {
				t.Errorf("%s: the simulator does not give %s", s.Name, name)
			}
		}
		for name := range with {
			if _, ok := preset.With[name]; !ok {
				t.Errorf("%s: the preset does not ask for %s", s.Name, name)
			}
		}
		text := fmt.Sprintf("sources:\n  x: {preset: %s, with: %s}\nsinks: {a: {file: {path: x.jsonl}}}\n", s.Name, withLine(with))
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file); err != nil {
			t.Error(err)
		}
	}
}
