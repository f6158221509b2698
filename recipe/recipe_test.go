package recipe

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestEveryPresetIsSound(t *testing.T) {
	if len(Names()) == 0 {
		t.Fatal("there are no presets")
	}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			p, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			if p.Name != name || p.About == "" || !strings.HasPrefix(p.Docs, "https://") {
				t.Errorf("name %q, about %q, docs %q", p.Name, p.About, p.Docs)
			}
			for _, ref := range Refs(&p.HTTP, p.Feeds) {
				parts := strings.Split(ref.Path, ".")
				secretPlace := slices.Contains([]string{"auth", "headers", "query"}, parts[1]) && !strings.HasSuffix(ref.Path, "url")
				if p.With[ref.Name].Secret && !secretPlace {
					t.Errorf("%s shows the secret {%s}", ref.Path, ref.Name)
				}
			}
			if identity, err := ParseTemplate(p.Identity); err == nil {
				for _, name := range identity.Names() {
					if p.With[name].Secret {
						t.Errorf("identity uses the secret {%s}: another key of the account would be another source", name)
					}
				}
			}
		})
	}
}

func TestUnknownPresetNamesWhatExists(t *testing.T) {
	_, err := Find("flatpaek")
	if err == nil || !strings.Contains(err.Error(), "flatpeak") || !strings.Contains(err.Error(), "flatpaek") {
		t.Fatalf("got %v", err)
	}
	if _, err := Find("../recipe"); err == nil {
		t.Fatal("a path is not a preset's name")
	}
}

func TestProblems(t *testing.T) {
	const base = "url: https://api.example.com/events\nposition: head_walk\n"
	for _, test := range []struct{ yaml, path, text string }{
		{"position: head_walk", "url", "is missing"},
		{"url: https://a.example/{x\nposition: head_walk", "url", "without its }"},
		{"url: ftp://a.example/\nposition: head_walk", "url", "https://"},
		{"url: /events\nposition: head_walk", "url", "https://"},
		{"url: https:///x\nposition: head_walk", "url", "a host"},
		{"url: https://a.example/x#y\nposition: head_walk", "url", "#"},
		{"url: https://a.example/", "position", "is missing"},
		{"url: https://a.example/\nposition: tail_cursor", "paging", "tail_cursor"},
		{"url: https://a.example/\nposition: headwalk", "position", "want head_walk"},
		{base + "method: DELETE", "method", "GET or POST"},
		{base + "query: {a: '{b c}'}", "query.a", "b c"},
		{base + "headers: {'a b': x}", "headers.a b", "header's name"},
		{base + "headers: {authorization: x}\nauth: {bearer: '{t}'}", "headers.authorization", "auth"},
		{base + "headers: {x-key: x}\nauth: {header: {name: X-Key, value: v}}", "headers.x-key", "auth.header"},
		{base + "headers: {Host: x}", "headers.Host", "connection"},
		{base + "auth: {bearer: a, header: {name: k, value: v}}", "auth", "bearer and header"},
		{base + "auth: {basic: {password: x}}", "auth.basic.user", "missing"},
		{base + "auth: {header: {name: 'a:', value: v}}", "auth.header.name", "a:"},
		{base + "auth: {login: {token: t}}", "auth.login.url", "missing"},
		{base + "auth: {login: {url: 'https://api.example.com/login'}}", "auth.login.token", "missing"},
		{base + "auth: {login: {url: 'https://login.example.com/', token: t}}", "auth.login.url", "origin"},
		{base + "auth: {login: {url: 'https://api.example.com:8443/', token: t}}", "auth.login.url", "origin"},
		{base + "auth: {login: {url: 'http://api.example.com/', token: t}}", "auth.login.url", "origin"},
		{base + "items: data|@reverse", "items", "plain path"},
		{base + "items: '[a,b]'", "items", "plain path"},
		{base + "id: '{id'", "id", "without its }"},
		{base + "id: '{{x}}'", "id", "same for every item"},
		{base + "id: id\npaging: {cursor: last_id}", "paging.param", "missing"},
		{base + "paging: {param: after}", "paging.cursor", "missing"},
		{base + "paging: {more: has_more}", "paging.more", "paging.param"},
		{base + "id: '{id}@{at}'\npaging: {param: after, cursor: last_id}", "paging.cursor", "plain path"},
		{base + "paging: {param: after, cursor: last_id}", "paging.cursor", "plain path"},
		{base + "paging: {size: -10}", "paging.size", "-10"},
		{base + "paging: {limit: limit}", "paging.size", "missing"},
		{base + "paging: {limit: limit, size: -1}", "paging.size", "-1"},
		{base + "paging: {param: n, cursor: next, limit: n, size: 1}", "paging.limit", "same"},
		{base + "query: {n: 1}\npaging: {param: n, cursor: next}", "query.n", "paging.param"},
		{base + "errors: [{status: 422, means: denied}]", "errors[0].means", "denied"},
		{base + "errors: [{status: 422}]", "errors[0].means", "missing"},
		{base + "errors: [{status: 42, means: lost}]", "errors[0].status", "42"},
		{base + "errors: [{status: 410, equals: x, means: lost}]", "errors[0].path", "missing"},
		{base + "errors: [{status: 200, means: lost}]", "errors[0].path", "success"},
		{base + "fetch_one: 'https://api.example.com/{id}'", "fetch_one", "plain path"},
		{base + "id: id\nfetch_one: https://api.example.com/events", "fetch_one", "{id}"},
		{base + "id: id\nfetch_one: https://b.example.com/{id}", "fetch_one", "origin"},
	} {
		t.Run(test.yaml, func(t *testing.T) {
			var h HTTP
			if err := yaml.UnmarshalWithOptions([]byte(test.yaml), &h, yaml.Strict()); err != nil {
				t.Fatal(err)
			}
			problems := h.Problems()
			if len(problems) != 1 || problems[0].Path != test.path || !strings.Contains(problems[0].Text, test.text) {
				t.Errorf("got %+v, want one at %s with %q", problems, test.path, test.text)
			}
		})
	}
}

func TestSoundRecipesHaveNoProblems(t *testing.T) {
	for _, text := range []string{
		"url: https://a.example\nposition: head_walk",
		"url: '{env:URL}'\nposition: head_walk\nauth: {bearer: '{env:TOKEN}'}",
		"url: 'https://{region}.a.example/v1'\nposition: head_walk\nauth: {login: {url: 'https://login.a.example/', token: t}}",
		"url: https://a.example/e\nposition: head_walk\nauth: {login: {url: 'https://A.example:443/login', token: t}}",
		"url: https://a.example/e\nposition: head_walk\nauth: {basic: {user: '{env:KEY}'}}",
		"url: https://a.example/e\nposition: head_walk\nid: '{id}@{updated.at}'\ntime: '@timestamp'\npaging: {param: c, cursor: next}",
		"url: https://a.example/e\nposition: head_walk\nitems: response.0.data\nerrors: [{status: 200, path: error, means: refused}]",
	} {
		var h HTTP
		if err := yaml.UnmarshalWithOptions([]byte(text), &h, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		if problems := h.Problems(); len(problems) > 0 {
			t.Errorf("%s\ngot %+v", text, problems)
		}
	}
}

func TestRefsAndOwnQuery(t *testing.T) {
	p, err := Find("flatpeak")
	if err != nil {
		t.Fatal(err)
	}
	refs := p.HTTP.Refs()
	for _, want := range []Ref{
		{"url", "base_url"}, {"auth.login.basic.password", "api_key"}, {"query.object_id", "object_id"},
		{"headers.Flatpeak-Version", "version"}, {"fetch_one", "base_url"},
	} {
		if !slices.Contains(refs, want) {
			t.Errorf("no %v in %v", want, refs)
		}
	}
	if slices.ContainsFunc(refs, func(r Ref) bool { return r.Name == "id" }) {
		t.Error("{id} of fetch_one is no parameter")
	}
	for key, want := range map[string]bool{"limit": true, "starting_after": true, "event_type": true, "zone": false} {
		if got := p.HTTP.OwnQuery(key); got != want {
			t.Errorf("OwnQuery(%q) = %v", key, got)
		}
	}
}

func TestOrigin(t *testing.T) {
	for a, b := range map[string]string{
		"https://A.example/x":    "https://a.example:443",
		"http://a.example:80?q":  "http://a.example:80",
		"http://u:p@[::1]:8080/": "http://::1:8080",
	} {
		u, err := url.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		if got := Origin(u); got != b {
			t.Errorf("Origin(%s) = %s, want %s", a, got, b)
		}
	}
}
