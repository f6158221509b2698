package config

import (
	"fmt"
	"strings"
	"testing"

	"tidings/recipe"
)

// A source's values from files are read again; the others stay as they were.
func TestReload(t *testing.T) {
	files := map[string]string{
		"/c/key": "one\n", "/etc/tidings/base": "https://h.example/",
		"/etc/tidings/config.yaml": `
sources:
  a: {preset: flatpeak, with: {account_id: "${env:A}", api_key: "sk_${credential:key}", base_url: "${file:base}", query: {"k[1]": "${credential:key}"}}}
  b: {http: {url: https://x, position: head_walk, auth: {bearer: "${credential:key}"}}}
  c: {http: {url: https://x, position: head_walk, auth: {bearer: "${env:A}"}}}
` + goodSink,
	}
	c, problems, err := load("/etc/tidings/config.yaml", fakeEnv(map[string]string{"A": "acc_1", "CREDENTIALS_DIRECTORY": "/c"}, files), nil)
	if err != nil || len(problems.Problems) > 0 {
		t.Fatal(err, problems)
	}
	if c.Sources[2].Reload != nil {
		t.Error("nothing of c comes from a file")
	}
	shown := func(of int) string {
		now, err := c.Sources[of].Reload()
		if err != nil {
			return err.Error()
		}
		return strings.Join([]string{now["account_id"].Reveal(), now["api_key"].Reveal(), now["base_url"].Reveal(), now["credential:key"].Reveal() + now[parameter(part{"k[1]", "query"})].Reveal()}, " ")
	}
	if got := shown(0); got != "acc_1 sk_one https://h.example one" {
		t.Errorf("a has %s", got)
	}
	files["/c/key"] = "two"
	if got := shown(0) + shown(1); got != "acc_1 sk_two https://h.example two   two" {
		t.Errorf("a and b have %s", got)
	}
	if c.Sources[0].Values["api_key"].Reveal() != "sk_one" {
		t.Error("what was loaded has changed")
	}
	for _, broken := range []string{"", "a\nb", strings.Repeat("x", maxSecret+1)} {
		files["/c/key"] = broken
		if got := shown(1); !strings.Contains(got, "/c/key") || strings.Contains(got, "b\n") {
			t.Errorf("got %.200s", got)
		}
	}
	files["/c/key"] = "two"
	files["/etc/tidings/base"] = "https://another.example"
	if got := shown(0); !strings.Contains(got, "name another account or API") || strings.Contains(got, "another.example") {
		t.Errorf("got %s", got)
	}
	delete(files, "/c/key")
	if got := shown(1); got != "read /c/key again: file does not exist; the values that it had stay in use" {
		t.Errorf("got %s", got)
	}
}

func TestKindsOfSources(t *testing.T) {
	own := "name: mine\nwith: {base_url: {about: a, default: https://a.example}}\nidentity: '{base_url}'\n" +
		"http: {url: '{base_url}', limits: {every: 7m}}\nfeeds: [{name: one, url: '{base_url}/e', position: head_walk, overlap: 3d}]\n"
	files := map[string]string{"/etc/tidings/mine.yaml": own, "/p/flatpeak.yaml": own, "/p/x.pem": ""}
	const rest = "sinks: {b: {file: {path: /x}, sources: [tidings, a]}}\n"
	for name, test := range map[string]struct {
		text string
		got  func(*Config) any
		want string
	}{
		"file":      {"sources: {a: {preset: ./mine.yaml}}\n" + rest, func(c *Config) any { return c.Sources[0].Preset + " " + c.Sources[0].Identity }, "mine https://a.example"},
		"directory": {rest + "sources: {a: {preset: flatpeak}}\npresets: /p\n", func(c *Config) any { return c.Sources[0].Preset }, "mine"},
		"defaults of a preset": {"sources: {a: {preset: mine.yaml}}\n" + rest, func(c *Config) any {
			return fmt.Sprint(c.Sources[0].Every, c.Sources[0].Overlap, c.Sources[0].OnLost, len(c.Sources[0].Feeds))
		}, "7m0s 72h0m0sfrom_time1"},
		"own every": {"sources: {a: {preset: mine.yaml, every: 1m, overlap: 1m}}\n" + rest, func(c *Config) any { return fmt.Sprint(c.Sources[0].Every, c.Sources[0].Overlap) }, "1m0s 1m0s"},
		"own cron":  {"sources: {a: {preset: mine.yaml, cron: '@daily'}}\n" + rest, func(c *Config) any { return c.Sources[0].Every }, "0s"},
		"exec": {"sources: {a: {exec: {command: [/bin/x, '--key=${env:K}', y], env: {Z: 1}, timeout: 5m}}}\n" + rest, func(c *Config) any {
			e := c.Sources[0].Exec
			return fmt.Sprint(e.Command[1].Reveal(), len(e.Hide), e.Env["Z"].Reveal(), e.Timeout, c.Sources[0].Identity == "/bin/x "+hash("--key=${env:K}\x00y"))
		}, "--key=k115m0s true"},
		"what a program prints": {"sources: {a: {exec: {command: [x], id: '{a}@{b}', type: =bill, time: at, zone: UTC, layout: unix}}}\n" + rest, func(c *Config) any {
			e := c.Sources[0].Exec
			return e.ID + e.Type + e.Time + e.Zone + e.Layout
		}, "{a}@{b}=billatUTCunix"},
		"exec alone": {"sources: {a: {exec: {command: [x]}}}\n" + rest, func(c *Config) any { return c.Sources[0].Identity }, "x"},
		"transport": {"sources: {a: {http: {url: https://x, position: head_walk}, tls: {cert: /p/x.pem, key: /p/x.pem}, proxy: none, on_lost_position: stop}}\n" + rest, func(c *Config) any {
			s := c.Sources[0]
			return fmt.Sprint(*s.TLS, s.Proxy.Reveal(), s.OnLost)
		}, "{/p/x.pem /p/x.pem }nonestop"},
		"feeds": {"sources: {a: {http: {url: 'https://x/', auth: {bearer: '${env:K}'}}, feeds: [{name: one, url: https://X:443/1, position: head_walk}]}}\n" + rest, func(c *Config) any {
			s := c.Sources[0]
			return fmt.Sprint(s.Identity, s.HTTP.Lists(s.Feeds)[0].Auth.Bearer, s.Feeds[0].Name)
		}, "https://x:443/{env:K}one"},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, "/etc/tidings/config.yaml", test.text, map[string]string{"K": "k"}, files)
			if got := fmt.Sprint(test.got(c)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Every built-in preset makes a source of what it asks for.
func TestEveryPresetMakesASource(t *testing.T) {
	for _, name := range recipe.Names() {
		p, err := recipe.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		var with strings.Builder
		for param, about := range p.With {
			if about.Required {
				with.WriteString(param + ": x, ")
			}
		}
		c := mustLoad(t, "/c.yaml", "sources: {a: {preset: "+name+", with: {"+with.String()+"}}}\n"+goodSink, nil, nil)
		if c.Sources[0].Identity == "" {
			t.Errorf("%s has no identity", name)
		}
	}
}
