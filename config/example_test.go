package config

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exampleEnv has what config.example.yaml refers to.
func exampleEnv(t *testing.T) env {
	return fakeEnv(map[string]string{
		"CREDENTIALS_DIRECTORY": "/run/credentials/tidings.service",
		"BILLING_TOKEN":         "billing-token-5e1f",
	}, map[string]string{
		"config.example.yaml":                                 exampleText(t),
		"/run/credentials/tidings.service/flatpeak_api_key":   "flatpeak-key-77a0\n",
		"/run/credentials/tidings.service/app_webhook_secret": testSecret + "\n",
		"/etc/tidings/crm.pem":                                "",
		"/etc/tidings/crm.key":                                "",
		"/etc/tidings/ca.pem":                                 "",
	})
}

func exampleText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExampleIsValid(t *testing.T) {
	c, problems, err := load("config.example.yaml", exampleEnv(t), nil)
	if err != nil || len(problems.Problems) > 0 {
		t.Fatalf("%v\n%v", err, problems)
	}
	if len(c.Sources) != 7 || len(c.Sinks) != 3 {
		t.Errorf("%d sources and %d sinks", len(c.Sources), len(c.Sinks))
	}
}

// The values that the example does not call examples are the defaults.
func TestExampleShowsDefaults(t *testing.T) {
	full, problems, err := load("config.example.yaml", exampleEnv(t), nil)
	if err != nil || len(problems.Problems) > 0 {
		t.Fatalf("%v\n%v", err, problems)
	}
	bare := mustLoad(t, "/etc/tidings/config.yaml", `
sources: {flatpeak: {preset: flatpeak, with: {account_id: acc_0123456789, api_key: x}}}
sinks:
  app: {http: {url: "http://127.0.0.1:8080/webhooks"}}
  archive: {file: {path: /var/lib/tidings/events/%Y-%m-%d.jsonl}}
  script: {exec: {command: [/usr/local/bin/on-event, --verbose]}}
`, nil, nil)
	bare.Control = full.Control // the default depends on the machine
	full.File, full.Sources = bare.File, full.Sources[:1]
	full.Sources[0].Place = bare.Sources[0].Place
	for i := range full.Sinks {
		full.Sinks[i].Place = bare.Sinks[i].Place
	}
	full.Sinks[2].Timeout = bare.Sinks[2].Timeout
	full.Sinks[0].HTTP.Secret = bare.Sinks[0].HTTP.Secret
	if got, want := text(full), text(bare); got != want {
		t.Errorf("the example has\n%s\nand the defaults are\n%s", got, want)
	}
}

// text shows a configuration with what its pointers point to; secrets are shown as such.
func text(c *Config) string {
	lines := []string{fmt.Sprintf("%s %s %+v %+v", c.DataDir, c.Control, c.Log, c.Store)}
	for _, s := range c.Sources {
		s.Reload = nil // a function has no text
		lines = append(lines, fmt.Sprintf("%+v %+v", s, s.HTTP.Auth.Login))
		lines[len(lines)-1] = regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(lines[len(lines)-1], "")
	}
	for _, s := range c.Sinks {
		h, f, e := s.HTTP, s.File, s.Exec
		s.HTTP, s.File, s.Exec = nil, nil, nil
		lines = append(lines, fmt.Sprintf("%+v %+v %+v %+v", s, h, f, e))
	}
	return strings.Join(lines, "\n")
}

// Every key that the decoder knows stands in the example, as a key or in a comment that shows it as one, and the other way round.
func TestExampleHasEveryKey(t *testing.T) {
	known := map[string]bool{}
	// The example leaves some mappings out, since they exclude each other; this file has them.
	everything := exampleText(t)
	for _, alternative := range []string{
		"{basic: {user: a, password: b}}", "{header: {name: a, value: b}}",
		"{login: {url: https://api.example.com/l, token: t, basic: {user: a}}}",
	} {
		from := exampleEnv(t)
		read := from.readFile
		from.readFile = func(path string) ([]byte, error) {
			if path == "config.example.yaml" {
				return regexp.MustCompile(`auth: .*\n *bearer: .*`).ReplaceAll([]byte(everything), []byte("auth: "+alternative)), nil
			}
			return read(path)
		}
		_, problems, err := load("config.example.yaml", from, func(_ string, keys []string) {
			for _, k := range keys {
				known[k] = true
			}
		})
		if err != nil || len(problems.Problems) > 0 {
			t.Fatalf("%v\n%v", err, problems)
		}
	}
	if len(known) < 60 {
		t.Fatalf("the decoder told of %d keys only", len(known))
	}

	free := []string{"flatpeak", "billing", "orders", "usage", "tasks", "crm", "legacy", "from", "meter", "audience", "channel", "app", "archive", "script", "kind", "Accept-Language", "Authorization"} // names that are the user's
	shown := map[string]bool{}
	for line := range strings.SplitSeq(exampleText(t), "\n") {
		comment := strings.HasPrefix(strings.TrimSpace(line), "#")
		if comment && !regexp.MustCompile(`^\s+# +[a-z_]+: `).MatchString(line) && !regexp.MustCompile(`^\s+# login:`).MatchString(line) {
			continue // prose
		}
		code, _, _ := strings.Cut(strings.TrimLeft(line, " #"), " #")
		for _, m := range regexp.MustCompile(`(?:^|[{,] ?|- \{)([A-Za-z0-9_-]+):(?: |$)`).FindAllStringSubmatch(code, -1) {
			shown[m[1]] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if !shown[k] {
			t.Errorf("the example does not show the key %s", k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(shown)) {
		if !known[k] && !slices.Contains(free, k) {
			t.Errorf("the example shows %s, which is no key", k)
		}
	}
}
