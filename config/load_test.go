package config

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
)

var testSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef01234567"))

// fakeEnv is a machine with these variables and files, and nothing else.
func fakeEnv(vars, files map[string]string) env {
	return env{
		lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		readFile: func(path string) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		exists: func(path string) bool { _, ok := files[path]; return ok },
	}
}

// tryLoad loads text as the file named file on a machine with vars and files.
func tryLoad(t testing.TB, file, text string, vars, files map[string]string) (*Config, *Errors) {
	t.Helper()
	all := map[string]string{file: text}
	maps.Copy(all, files)
	c, problems, err := load(file, fakeEnv(vars, all), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, problems
}

func mustLoad(t testing.TB, file, text string, vars, files map[string]string) *Config {
	t.Helper()
	c, problems := tryLoad(t, file, text, vars, files)
	if len(problems.Problems) > 0 {
		t.Fatalf("problems with\n%s\n%v", text, problems)
	}
	return c
}

const (
	goodSource = "sources: {a: {preset: flatpeak, with: {account_id: acc_1, api_key: k}}}\n"
	goodSink   = "sinks: {b: {file: {path: /x}}}\n"
)

func TestValues(t *testing.T) {
	source := func(keys string) string {
		return "sources:\n  a:\n    preset: flatpeak\n    with: {account_id: acc_1, api_key: k}\n    " + keys + "\n" + goodSink
	}
	sink := func(keys string) string { return goodSource + "sinks:\n  b:\n    " + keys + "\n" }
	vars := map[string]string{"N": "4", "GLOB": "tariff.*", "HOST": "h.example", "EVERY": "90s", "DIR": "/srv"}
	files := map[string]string{"/etc/tidings/host": "h.example\r\n", "/c/two": "a\n\n"}
	for name, test := range map[string]struct {
		text string
		got  func(*Config) any
		want string
	}{
		"days":         {source("every: 1d12h"), func(c *Config) any { return c.Sources[0].Every }, "36h0m0s"},
		"milliseconds": {source("every: 100ms"), func(c *Config) any { return c.Sources[0].Every }, "100ms"},
		"cron": {source(`cron: "CRON_TZ=Europe/Berlin 0 6 * * 1-5"`), func(c *Config) any {
			return fmt.Sprint(c.Sources[0].CronSpec, c.Sources[0].Every, c.Sources[0].Cron != nil)
		}, "CRON_TZ=Europe/Berlin 0 6 * * 1-50s true"},
		"cron word":                   {source(`cron: "@daily"`), func(c *Config) any { return c.Sources[0].CronSpec }, "@daily"},
		"no overlap":                  {source("overlap: 0s"), func(c *Config) any { return c.Sources[0].Overlap }, "0s"},
		"no jitter":                   {source("jitter: 0"), func(c *Config) any { return c.Sources[0].Jitter }, "0"},
		"start":                       {source("start: earliest"), func(c *Config) any { return c.Sources[0].Start }, "{true 0001-01-01 00:00:00 +0000 UTC}"},
		"start at":                    {source("start: 2026-11-01T00:00:00Z"), func(c *Config) any { return c.Sources[0].Start }, "{false 2026-11-01 00:00:00 +0000 UTC}"},
		"start at, quoted":            {source(`start: "2096-11-01T00:00:00Z"`), func(c *Config) any { return c.Sources[0].Start.At.Year() }, "2096"},
		"events":                      {source(`events: [a.*, "${env:GLOB}"]`), func(c *Config) any { return c.Sources[0].Events }, "[a.* tariff.*]"},
		"identity":                    {source(""), func(c *Config) any { return c.Sources[0].Identity }, "https://api.flatpeak.com acc_1"},
		"identity without an account": {"sources: {a: {preset: stripe, with: {api_key: k}}}\n" + goodSink, func(c *Config) any { return c.Sources[0].Identity }, "https://api.stripe.com"},
		"identity of an account": {"sources: {a: {preset: stripe, with: {api_key: k, account: acct_1}}}\n" + goodSink,
			func(c *Config) any { return c.Sources[0].Identity }, "https://api.stripe.com acct_1"},
		"base_url's slash": {
			strings.Replace(source(""), "api_key: k", `api_key: k, base_url: "http://${env:HOST}:81/"`, 1),
			func(c *Config) any { return c.Sources[0].Identity + " " + c.Sources[0].Values["base_url"].Reveal() },
			"http://h.example:81 acc_1 http://h.example:81"},
		"number as a parameter": {
			strings.Replace(source(""), "acc_1", "0x1F", 1), func(c *Config) any { return c.Sources[0].Values["account_id"].Reveal() }, "0x1F"},
		"extra query": {
			strings.Replace(source(""), "api_key: k", "api_key: k, query: {zone: 7, x: true}", 1),
			func(c *Config) any {
				s := c.Sources[0]
				return s.HTTP.Query["zone"] + s.Values["query:zone"].Reveal() + s.Values["query:x"].Reveal()
			}, "{query:zone}7true"},
		"default parameter":  {source(""), func(c *Config) any { return c.Sources[0].Values["base_url"].Reveal() }, "https://api.flatpeak.com"},
		"absent parameter":   {source(""), func(c *Config) any { _, ok := c.Sources[0].Values["object_id"]; return ok }, "false"},
		"a preset's own url": {source(""), func(c *Config) any { return c.Sources[0].HTTP.URL }, "{base_url}/events"},

		"unix socket":   {sink("http: {url: 'unix:/run/app.sock:/hooks?x=1'}"), func(c *Config) any { return c.Sinks[0].HTTP.URL.Reveal() + " " + c.Sinks[0].Target }, "unix:/run/app.sock:/hooks?x=1 unix:/run/app.sock:/hooks"},
		"target":        {sink("http: {url: 'https://u:pw@${env:HOST}/x?key=1'}"), func(c *Config) any { return c.Sinks[0].Target }, "https://${env:HOST}/x"},
		"whole url":     {sink("http: {url: 'https://u:pw@${env:HOST}/x?key=1'}"), func(c *Config) any { return c.Sinks[0].HTTP.URL.Reveal() }, "https://u:pw@h.example/x?key=1"},
		"header":        {sink("http: {url: 'http://x', headers: {X-N: 7, Authorization: 'Bearer ${file:host}'}}"), func(c *Config) any { return c.Sinks[0].HTTP.Headers["Authorization"].Reveal() }, "Bearer h.example"},
		"one newline":   {sink("http: {url: 'http://x', secret: " + testSecret + ", headers: {X: '${env:HOST}'}}"), func(c *Config) any { return c.Sinks[0].HTTP.Secret.Reveal() == testSecret }, "true"},
		"statuses":      {sink("http: {url: 'http://x', permanent_statuses: [400, 422]}"), func(c *Config) any { return c.Sinks[0].HTTP.PermanentStatuses }, "[400 422]"},
		"http defaults": {sink("http: {url: 'http://x'}"), func(c *Config) any { return fmt.Sprint(c.Sinks[0].Format, c.Sinks[0].Concurrency, c.Sinks[0].Timeout) }, "raw8 15s"},
		"exec defaults": {sink("exec: {command: [x]}"), func(c *Config) any { return fmt.Sprint(c.Sinks[0].Format, c.Sinks[0].Concurrency, c.Sinks[0].Target) }, "envelope1x"},
		"file defaults": {sink("file: {path: /x/%H}"), func(c *Config) any {
			return fmt.Sprint(c.Sinks[0].Format, c.Sinks[0].Concurrency, c.Sinks[0].File.Timezone)
		}, "envelope1 UTC"},
		"interpolated n": {sink("{concurrency: '${env:N}', exec: {command: [x]}}"), func(c *Config) any { return c.Sinks[0].Concurrency }, "4"},
		"relative path":  {sink("file: {path: e/%Y.jsonl}"), func(c *Config) any { return c.Sinks[0].File.Path }, "/etc/tidings/e/%Y.jsonl"},
		"spool":          {sink("file: {spool: '${env:DIR}/s/'}"), func(c *Config) any { return c.Sinks[0].File.Spool }, "/srv/s"},
		"hidden argument": {sink("exec: {command: [x, --verbose, 'key=${env:HOST}']}"), func(c *Config) any {
			return fmt.Sprint(len(c.Sinks[0].Exec.Hide), c.Sinks[0].Exec.Hide[0].Reveal())
		}, "1key=h.example"},
		"byte order mark": {"\ufeff" + goodSource + goodSink, func(c *Config) any { return len(c.Sinks) }, "1"},
		"shown url": {sink("http: {url: 'https://u:pw@x/hooks/${env:HOST}?key=1'}"), func(c *Config) any {
			return fmt.Sprint(c.Sinks[0].HTTP.Shown, " ", len(c.Sinks[0].HTTP.Hide), c.Sinks[0].HTTP.Hide[0].Reveal())
		}, "https://x/hooks/${env:HOST} 1h.example"},
		"plain url":      {sink("http: {url: 'https://x/hooks'}"), func(c *Config) any { return c.Sinks[0].HTTP.Shown }, ""},
		"literal ${":     {sink("exec: {command: [x, '$${env:N} $$ $']}"), func(c *Config) any { return c.Sinks[0].Exec.Command[1].Reveal() }, "${env:N} $$ $"},
		"env":            {sink("exec: {command: [x], env: {A: 1, B: 'b ${env:N}'}}"), func(c *Config) any { return c.Sinks[0].Exec.Env["A"].Reveal() + c.Sinks[0].Exec.Env["B"].Reveal() }, "1b 4"},
		"retry":          {sink("{retry: {initial: 5s, multiplier: 1, jitter: 1, max: 5s, give_up_after: 1d}, file: {path: /x}}"), func(c *Config) any { return c.Sinks[0].Retry }, "{5s 5s 1 1 24h0m0s}"},
		"multiplier 1.5": {sink("{retry: {multiplier: 1.5}, file: {path: /x}}"), func(c *Config) any { return c.Sinks[0].Retry.Multiplier }, "1.5"},
		"sources":        {sink("{sources: [a], file: {path: /x}}"), func(c *Config) any { return c.Sinks[0].Sources }, "[a]"},
		"raw file":       {sink("{format: raw, file: {path: /x}}"), func(c *Config) any { return c.Sinks[0].Format }, "raw"},
		"sizes":          {goodSource + goodSink + "store: {max_size: 1TiB, min_free: 10MB}", func(c *Config) any { return fmt.Sprint(c.Store.MaxSize, c.Store.MinFree) }, "1099511627776 10000000"},
		"bytes":          {goodSource + goodSink + "store: {min_free: 0, max_size: 16777216}", func(c *Config) any { return fmt.Sprint(c.Store.MaxSize, c.Store.MinFree) }, "16777216 0"},
		"web":            {goodSource + goodSink + "web: {listen: 127.0.0.1:9480}", func(c *Config) any { return c.Web.Listen }, "127.0.0.1:9480"},
		"web, IPv6":      {goodSource + goodSink + "web: {listen: '[::1]:0'}", func(c *Config) any { return c.Web.Listen }, "[::1]:0"},
		"web, off":       {goodSource + goodSink + "web:", func(c *Config) any { return c.Web.Listen == "" }, "true"},
		"level":          {goodSource + goodSink + "log: {level: debug, format: json}", func(c *Config) any { return c.Log }, "{DEBUG json}"},
		"alias": {
			"sources: {a: &x {preset: flatpeak, with: {account_id: a, api_key: k}}, c: *x}\n" + goodSink,
			func(c *Config) any { return fmt.Sprint(len(c.Sources), c.Sources[1].Name) }, "2c"},
		"merge": {
			goodSource + "sinks: {b: &x {file: &f {path: /x}, timeout: 3s}, c: {<<: *x, file: {<<: [*f], path: /y}}}\n",
			func(c *Config) any { return fmt.Sprint(c.Sinks[1].Timeout, c.Sinks[1].File.Path) }, "3s/y"},
		"block text": {goodSource + "sinks:\n  b:\n    exec:\n      command:\n        - sh\n        - |\n          a\n          b\n", func(c *Config) any { return c.Sinks[0].Exec.Command[1].Reveal() }, "a\nb\n"},
		"!!str":      {sink("exec: {command: [x, !!str 5]}"), func(c *Config) any { return c.Sinks[0].Exec.Command[1].Reveal() }, "5"},
		"no key":     {goodSource + goodSink + "log:\nstore: {}\n", func(c *Config) any { return c.Log }, "{INFO auto}"},
		"file order": {goodSource + "sinks: {z: {file: {path: /z}}, b: {file: {path: /b}}}", func(c *Config) any { return c.Sinks[0].Name + c.Sinks[1].Name }, "zb"},
		"line ends":  {strings.ReplaceAll(sink("http: {url: 'http://x'}"), "\n", "\r\n"), func(c *Config) any { return c.Sinks[0].Target }, "http://x"},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, "/etc/tidings/config.yaml", test.text, vars, files)
			if got := fmt.Sprint(test.got(c)); got != test.want {
				t.Errorf("got %s, want %s\n%s", got, test.want, test.text)
			}
		})
	}
}

func TestHTTPSourceHoldsNoSecret(t *testing.T) {
	c := mustLoad(t, "/etc/tidings/config.yaml", `
sources:
  a:
    http:
      url: https://${env:HOST}/v1/events?zone=1
      query: {q: "a ${env:TOKEN} {{b}} $${x}}"}
      headers: {X-Key: "${file:/etc/a key}"}
      auth: {login: {url: "https://${env:HOST}/login", basic: {user: me, password: "${credential:pw}"}, token: t}}
      id: data.id
      position: head_walk
      fetch_one: https://${env:HOST}/v1/events/{id}
`+goodSink, map[string]string{"HOST": "h.example", "TOKEN": "tok-{en}-1", "CREDENTIALS_DIRECTORY": "/c"},
		map[string]string{"/etc/a key": "key-2", "/c/pw": "pass-3\n"})
	s := c.Sources[0]
	for _, check := range []struct{ got, want string }{
		{s.HTTP.URL, "https://{env:HOST}/v1/events?zone=1"},
		{s.HTTP.Query["q"], "a {env:TOKEN} {{b}} ${{x}}"},
		{s.HTTP.Auth.Login.Basic.Password, "{credential:pw}"},
		{s.HTTP.ID, "data.id"},
		{s.Values["env:TOKEN"].Reveal(), "tok-{en}-1"},
		{s.Values["credential:pw"].Reveal(), "pass-3"},
		{s.Values[strings.Trim(s.HTTP.Headers["X-Key"], "{}")].Reveal(), "key-2"},
	} {
		if check.got != check.want {
			t.Errorf("got %s, want %s", check.got, check.want)
		}
	}
	if s.Identity != "https://h.example:443/v1/events" {
		t.Errorf("identity is %s", s.Identity)
	}
	if shown := fmt.Sprintf("%+v %+v", s, *s.HTTP.Auth.Login.Basic); strings.Contains(shown, "pass-3") || strings.Contains(shown, "tok-") {
		t.Errorf("shows a secret: %s", shown)
	}
}

func TestPlaces(t *testing.T) {
	const text = goodSource + goodSink
	for name, test := range map[string]struct {
		file, text string
		vars       map[string]string
		files      map[string]string
		data, ctl  string
	}{
		"under /etc":  {"/etc/tidings/config.yaml", text, nil, nil, "/var/lib/tidings", "/var/lib/tidings/control.sock"},
		"beside":      {"/home/me/t.yaml", text, nil, nil, "/home/me/tidings-data", "/home/me/tidings-data/control.sock"},
		"systemd":     {"/etc/t.yaml", text, map[string]string{"STATE_DIRECTORY": "/s:/s2", "RUNTIME_DIRECTORY": "/r"}, nil, "/s", "/r/control.sock"},
		"common":      {"/home/t.yaml", text, nil, map[string]string{"/run/tidings/control.sock": ""}, "/home/tidings-data", "/run/tidings/control.sock"},
		"set":         {"/home/t.yaml", text + "data_dir: d\ncontrol: /c\n", map[string]string{"STATE_DIRECTORY": "/s"}, nil, "/home/d", "/c"},
		"else broken": {"/home/t.yaml", "data_dir: /d\nsinks: 5\nnope: {a: '${env:X}'}\n", nil, nil, "/d", "/d/control.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{test.file: test.text}
			maps.Copy(files, test.files)
			data, ctl, err := places(test.file, fakeEnv(test.vars, files))
			if err != nil || data != test.data || ctl != test.ctl {
				t.Errorf("got %s, %s, %v, want %s, %s", data, ctl, err, test.data, test.ctl)
			}
		})
	}
	if _, _, err := places("/t.yaml", fakeEnv(nil, map[string]string{"/t.yaml": "data_dir: [1]\n" + text})); err == nil {
		t.Error("a data_dir that is a list is taken")
	}
}
