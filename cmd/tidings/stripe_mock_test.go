package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stripe-mock, Stripe's own, serves fixtures that Stripe makes of its OpenAPI document, so the preset stripe reads here what nobody of ours
// has written: the envelope, an event's members, the login, the parameters that Stripe's document allows. The list is the same each time, has
// one page (has_more is false), and knows neither cursors nor times nor faults: what those do is up to the simulated API.
func TestStripeMock(t *testing.T) {
	path := os.Getenv("STRIPE_MOCK")
	if path == "" {
		t.Skip("STRIPE_MOCK does not name the program: make stripe does")
	}
	dir := shortDir(t)
	base := startStripeMock(t, path, dir)
	resp, err := http.DefaultClient.Do(stripeRequest(t, base+"/v1/events"))
	if err != nil {
		t.Fatal(err)
	}
	var listed struct {
		Data []json.RawMessage
	}
	err = errors.Join(json.NewDecoder(resp.Body).Decode(&listed), resp.Body.Close())
	if err != nil || len(listed.Data) == 0 {
		t.Fatalf("stripe-mock lists %d events: %v", len(listed.Data), err)
	}
	s := &site{t: t, dir: dir}
	config := "sources:\n  stripe:\n    preset: stripe\n    start: earliest\n    with: {api_key: sk_test_123, base_url: " + base + "}\n" +
		"sinks:\n  app: {file: {path: " + s.path("events.jsonl") + "}}\n"
	if err := os.WriteFile(s.path("config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for pass := 1; pass <= 2; pass++ { // the second takes in nothing
		if code, _, stderr := s.tidings("once"); code != 0 {
			t.Fatalf("pass %d ended with %d: %s", pass, code, stderr)
		}
		text, err := os.ReadFile(s.path("events.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != len(listed.Data) {
			t.Fatalf("%d events were delivered after pass %d, and %d are listed:\n%s", len(lines), pass, len(listed.Data), text)
		}
		for i, line := range lines {
			var got, want any
			var delivered struct{ Data json.RawMessage }
			if err := errors.Join(json.Unmarshal([]byte(line), &delivered), json.Unmarshal(delivered.Data, &got),
				json.Unmarshal(listed.Data[len(lines)-1-i], &want)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if id, ok := got.(map[string]any)["id"].(string); !ok || !strings.HasPrefix(id, "evt_") || id != want.(map[string]any)["id"] {
				t.Errorf("event %d is %q, and %v was listed", i, id, want.(map[string]any)["id"])
			}
		}
	}
}

func stripeRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk_test_123")
	return req
}

// startStripeMock starts the program on a port that the system chooses, and returns its address when it answers.
func startStripeMock(t *testing.T, path, dir string) string {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "stripe-mock.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	for range 600 {
		said, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(said), "Listening for HTTP at address: "); ok && strings.Contains(after, "\n") {
			address, _, _ := strings.Cut(after, "\n")
			return "http://" + strings.TrimSpace(address)
		}
		time.Sleep(100 * time.Millisecond)
	}
	said, _ := os.ReadFile(log.Name())
	t.Fatalf("stripe-mock does not answer within a minute:\n%s", said)
	return ""
}
