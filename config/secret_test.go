package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"tidings/event"
	"tidings/recipe"
)

const hush = "hush-1234"

// hushEnv has the secret in a variable and as a credential, in every form that a field may want.
func hushEnv(text string) env {
	return fakeEnv(map[string]string{"T": hush, "U": "https://h.example/" + hush, "CREDENTIALS_DIRECTORY": "/c"},
		map[string]string{
			"/etc/c.yaml": text, "/c/t": hush + "\n", "/etc/t": hush, "/c/u": "https://h.example/" + hush,
			"/c/w": "whsec_" + base64.StdEncoding.EncodeToString([]byte(hush+hush+hush)),
		})
}

// everything prints all that a configuration would print, in all the ways that it may be printed.
func everything(c *Config) string {
	var b strings.Builder
	show := func(v any) {
		text, err := json.Marshal(v)
		fmt.Fprintf(&b, "%v %+v %#v %s %v\n", v, v, v, text, err)
	}
	show(*c)
	for _, s := range c.Sources {
		show(s.HTTP)
		if a := s.HTTP.Auth; a.Login != nil {
			show(*a.Login)
			show(a.Login.Basic)
		}
		show(s.HTTP.Auth.Basic)
		show(s.HTTP.Auth.Header)
	}
	for _, s := range c.Sinks {
		show(s.HTTP)
		show(s.Exec)
		show(s.File)
	}
	return b.String()
}

func TestNothingShowsSecrets(t *testing.T) {
	from := hushEnv(`
sources:
  a: {preset: flatpeak, with: {account_id: acc_1, api_key: "${credential:t}", query: {key: "${env:T}"}}}
  b: {preset: flatpeak, with: {account_id: acc_1, api_key: hush-1234-literal}}
  c: {http: {url: "${env:U}/v1?key=${env:T}", position: head_walk, headers: {X: "${file:t}"}, query: {y: "x${env:T}"},
       auth: {bearer: "${credential:t}"}}}
  d: {http: {url: https://x, position: head_walk, auth: {basic: {user: "${env:T}", password: "${credential:t}"}}}}
  e: {http: {url: https://x, position: head_walk, auth: {header: {name: K, value: "${env:T}"}}}}
  f: {exec: {command: [x, "--key=${env:T}", hush-1234-literal], env: {K: "${credential:t}"}}}
  g: {http: {url: https://x, auth: {oauth2: {token_url: https://y, client_id: a, client_secret: "${file:t}"}}}, proxy: "http://me:${env:T}@x",
       feeds: [{name: one, url: https://x/1, position: head_walk, query: {k: "${env:T}"}}]}
sinks:
  a: {http: {url: "https://u:hush-1234@h/${env:T}/x?key=hush-1234", headers: {Authorization: Bearer hush-1234}, secret: "${credential:w}"}}
  b: {exec: {command: [x, --token, "${env:T}", hush-1234], env: {T: "${credential:t}"}}}
`)
	c, problems, err := load("/etc/c.yaml", from, nil)
	if err != nil || len(problems.Problems) > 0 {
		t.Fatalf("%v\n%v", err, problems)
	}
	if c.Sinks[0].HTTP.Secret.IsZero() || c.Sources[0].Values["api_key"].Reveal() != hush {
		t.Fatal("the secrets did not arrive")
	}
	shown := everything(c)
	for _, secret := range []string{hush, c.Sinks[0].HTTP.Secret.Reveal()} {
		if i := strings.Index(shown, secret); i >= 0 {
			t.Errorf("shows a secret: …%s…", shown[max(0, i-200):min(len(shown), i+100)])
		}
	}
}

func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, seed := range []string{
		goodSource + goodSink, goodSource + "sinks: {b: {<<: &x {file: {path: '/x/${env:T}'}}, timeout: '${env:T}'}, c: *x}\n",
		"sources: {c: {http: {url: '${env:U}', auth: {bearer: '${credential:t}'}, position: head_walk, paging: {param: a}}}}\nsinks: {a: {http: {url: '${credential:u}', secret: '${credential:w}'}}}",
		"a: &a [*a]", "? [a]\n: b", "- !x y", "a: |\n  ${file:t}\n", "%YAML 1.2\n---\n...\n", "\ufeffa: 1", "a: \"\\x00\"", "sources:\n  a: *b\n", "<<: *x\nx: &x {<<: *x}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "hush") || len(text) > 10_000 {
			return
		}
		c, problems, err := load("/etc/c.yaml", hushEnv(string(text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(problems.Problems) == 0 {
			if len(c.Sources) == 0 || len(c.Sinks) == 0 {
				t.Error("nothing in it, and no problem")
			}
			return
		}
		told := problems.Error()
		if strings.Contains(told, hush) {
			t.Errorf("tells a secret: %s", told)
		}
		if strings.Count(told, "\n") != len(problems.Problems)-1 {
			t.Errorf("not one problem a line: %q", told)
		}
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + 2
		for _, p := range problems.Problems {
			if p.Line < 1 || p.Column < 1 || p.Line > lines {
				t.Errorf("%d:%d is no place in the file: %s", p.Line, p.Column, p.Text)
			}
		}
	})
}

// What a preset declares a secret stands in the identity as its hash.
// A person reads in an address what is no secret.
func TestIdentityOfAnAddress(t *testing.T) {
	values := map[string]event.Secret{
		"env:HOST": event.NewSecret("h.example"), "env:BASE": event.NewSecret("https://h.example/base/"), "env:KEY": event.NewSecret(hush), "env:ALL": event.NewSecret("https://h.example/a/" + hush + "?k=1"),
	}
	const origin = "https://h.example:443"
	for list, want := range map[string]string{
		"https://h.example":                               "",
		"https://h.example?x={env:KEY}":                   "",
		"https://h.example/v1/{cursor}/next?x=1":          "/v1/{cursor}/next",
		"https://{env:HOST}/v1/{company}/events":          "/v1/{company}/events",
		"https://h.example/v1/{env:KEY}/events/{+cursor}": "/v1/" + hash(hush) + "/events/{cursor}",
		"{env:BASE}/v1/{{x}}":                             "/" + hash("base") + "/v1/{x}",
		"{env:ALL}":                                       "/" + hash("a/"+hush),
	} {
		address, err := fill(list, values)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := httpIdentity(list, values, u); got != origin+want {
			t.Errorf("%s: %s", list, got)
		}
	}
}

func TestIdentityHashesSecrets(t *testing.T) {
	preset := &recipe.Preset{
		Identity: "{base_url} {token}",
		With:     map[string]recipe.Param{"base_url": {}, "token": {Secret: true}},
	}
	values := map[string]event.Secret{"base_url": event.NewSecret("https://h.example"), "token": event.NewSecret(hush)}
	got := identity(preset, values)
	if !strings.HasPrefix(got, "https://h.example sha256_") || strings.Contains(got, hush) {
		t.Errorf("identity is %s", got)
	}
	values["token"] = event.NewSecret(hush + "x")
	if identity(preset, values) == got {
		t.Error("another token has the same identity")
	}
}
