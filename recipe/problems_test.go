package recipe

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// One mistake in each kind of list beyond head_walk, with where and how it is told.
func TestProblemsOfPlaces(t *testing.T) {
	const (
		url      = "url: https://a.example/e\n"
		tail     = url + "position: tail_cursor\nid: id\n"
		window   = url + "position: time_window\ntime: at\n"
		ack      = url + "position: ack\nid: id\n"
		snapshot = url + "position: snapshot\n"
		walk     = url + "position: head_walk\nid: id\n"
		page     = "paging: {param: page, cursor: page}\n"
		since    = "window: {since: from, until: to}\n"
	)
	for _, test := range []struct{ yaml, path, text string }{
		{tail, "paging", "tail_cursor"},
		{tail + "paging: {param: c, cursor: next}\norder: newest", "order", "goes on at its end"},
		{tail + "paging: {param: c, cursor: next}\norder: upwards", "order", "upwards"},
		{walk + "order: oldest", "order", "newest first"},
		{walk + "first: {after: '{start}'}", "first.after", "tail_cursor"},
		{walk + "query: {after: x}\nfirst: {after: x}", "first.after", "query sets"},
		{walk + since, "window", "time_window"},
		{walk + "changes: {resource: id}", "changes", "snapshot or time_window"},
		{walk + "paging: {in: url, param: x, cursor: link}", "paging.param", "no meaning"},
		{walk + "paging: {cursor: link}", "paging.in", "must be url"},
		{walk + "paging: {in: url, cursor: last_id}", "paging.cursor", "next page's address"},
		{walk + "paging: {in: cookie, param: x, cursor: next}", "paging.in", "cookie"},
		{walk + "paging: {in: path, cursor: next}", "url", "{cursor}"},
		{"url: 'https://a.example/e/{cursor}'\nposition: head_walk", "url", "paging.in: path"},
		{walk + "paging: {in: body, param: cursor, cursor: next}", "paging.in", "method: POST"},
		{walk + "paging: {param: c, cursor: next, zero: true}", "paging.zero", "cursor: page"},
		{walk + "paging: {param: c, cursor: next, current: n}", "paging.current", "cursor: page"},
		{walk + "paging: {param: c, cursor: next, more: m, done: d}", "paging.done", "give one"},
		{walk + "explode: items\npaging: {param: c, cursor: last_id}", "paging.cursor", "listed item"},
		{walk + "body: '{{}}'", "body", "method: POST"},
		{walk + "method: POST\nbody: '{{\"a\": \"{x}\"}}'", "body", "no JSON"},
		{walk + "raw: '{{\"id\": \"{id}\"}}'", "raw", "no JSON"},
		{walk + "raw: '{{{id}: 1}}'", "raw", "no JSON"},
		{walk + "raw: '{{\"a\": {@itme}}}'", "raw", "{@itme}"},
		{walk + "raw: '{{\"a\": {@item.x}}}'", "raw", "{@item.x}"},
		{walk + "raw: '{{\"a\": {@each}}}'", "raw", "{@each}"},
		{url + "position: snapshot\nquery: {m: '{m}'}\nfor_each: {url: 'https://a.example/m', value: id, as: m}\nchanges: {resource: '{@each}/{id}', created: '{@each}'}",
			"changes.created", "{@each}"},
		{url + "position: head_walk\nid: '{a}@{@index}'", "id", "{@index}"},
		{walk + "type: '='", "type", "without the word"},
		{walk + "type: '{a'", "type", "without its }"},
		{walk + "time: at\nzone: Mars/Base", "zone", "Mars/Base"},
		{walk + "time: at\nlayout: '15:04'", "layout", "say the day"},
		{walk + "zone: UTC", "time", "missing"},
		{walk + "retain: 30", "retain", "duration"},
		{walk + "overlap: 0s", "overlap", "more than nothing"},
		{url + "position: time_window\n" + since, "time", "missing"},
		{window, "window.since", "missing"},
		{window + "window: {since: t, until: t}", "window.until", "same"},
		{window + "window: {since: t, lag: 1m}", "window.until", "missing"},
		{window + "window: {since: t, until: u, lag: soon}", "window.lag", "soon"},
		{window + "window: {since: t, layout: '02 Jan'}", "window.layout", "say the day"},
		{window + since + "query: {from: x}", "query.from", "window.since"},
		{window + "window: {in: body, since: t}", "window.in", "want header"},
		{window + "window: {in: header, since: 'a b'}", "window.since", "header's name"},
		{window + "window: {in: header}", "window.since", "header that takes"},
		{window + "window: {in: header, since: X-At, until: x-at}", "window.until", "same header"},
		{window + "window: {in: header, since: X-At}\nheaders: {x-at: x}", "headers.x-at", "window.since"},
		{window + "window: {in: header, since: Host}", "window.since", "connection"},
		{window + "window: {in: header, since: X-At}\npaging: {in: header, param: x-at, cursor: next}", "paging.param", "window"},
		{window + "window: {since: at}\npaging: {param: at, cursor: next}", "paging.param", "window"},
		{walk + "paging: {in: header, param: Authorization, cursor: next}", "paging.param", "auth"},
		{window + "window: {in: header, since: If-Modified-Since}\nlimits: {validators: true}", "window.since", "limits.validators"},
		{window + since + "changes: {created: =a}", "changes.resource", "missing"},
		{window + since + "changes: {resource: id}", "changes", "makes no event"},
		{window + since + "changes: {resource: id, deleted: =a}", "changes.deleted", "snapshot"},
		{window + since + "id: id\nchanges: {resource: id, updated: =a}", "id", "each of its versions"},
		{window + since + "id: '{id}'\nchanges: {resource: '{shop}/{id}', updated: =a}", "id", "each of its versions"},
		{ack, "ack.url", "missing"},
		{ack + "ack: {url: 'https://b.example/{id}'}", "ack.url", "origin"},
		{ack + "ack: {url: 'https://a.example/ack'}", "ack", "what is acknowledged"},
		{ack + "ack: {url: 'https://a.example/{id}', body: '{ids}'}", "ack", "one of them"},
		{ack + "ack: {url: 'https://a.example/ack', body: '[{ids}'}", "ack.body", "no JSON"},
		{ack + "ack: {url: 'https://a.example/{id}', method: GET}", "ack.method", "PATCH"},
		{url + "position: ack\nack: {url: 'https://a.example/{id}'}", "ack", "plain path"},
		{tail + "paging: {param: c, cursor: next}\nseek: {url: 'https://a.example/s', body: '{start}'}", "seek.cursor", "missing"},
		{tail + "paging: {param: c, cursor: next}\nseek: {url: 'https://a.example/s', cursor: c}", "seek", "{start}"},
		{snapshot, "changes", "missing"},
		{snapshot + "changes: {resource: id, created: =a, born: at}", "changes.born", "time_window"},
		{snapshot + "changes: {resource: id, created: =a, ignore: [a.b]}", "changes.ignore", "path"},
		{walk + page + "for_each: {url: 'https://a.example/x', value: id, as: x}\nquery: {a: '{x}'}", "for_each", "head_walk"},
		{window + since + "for_each: {url: 'https://a.example/x', value: id, as: x}", "for_each.as", "nothing uses"},
		{window + since + "for_each: {url: 'https://a.example/x', as: x}\nquery: {a: '{x}'}", "for_each.value", "missing"},
		{window + since + "for_each: {url: 'https://b.example/x', value: id, as: x}\nquery: {a: '{x}'}", "for_each.url", "origin"},
		{window + since + "for_each: {url: 'https://a.example/x', value: id, as: id}\nquery: {a: '{id}'}", "for_each.as", "none of cursor"},
		{walk + "limits: {every: never}", "limits.every", "never"},
		{walk + "limits: {every: 1ms}", "limits.every", "100ms"},
		{walk + "limits: {rate: -1}", "limits.rate", "-1"},
		{walk + "limits: {burst: 3}", "limits.rate", "missing"},
		{walk + "limits: {reset: X-Reset}", "limits.reset_in", "missing"},
		{walk + "limits: {reset: X-Reset, reset_in: weeks}", "limits.reset_in", "weeks"},
		{walk + "limits: {interval: 'X Poll'}", "limits.interval", "X Poll"},
		{walk + "auth: {oauth2: {client_id: a, client_secret: b}}", "auth.oauth2.token_url", "missing"},
		{walk + "auth: {oauth2: {token_url: 'https://b.example/t', client_id: a, client_secret: b, params: {scope: x}}}", "auth.oauth2.params.scope", "itself"},
		{walk + "errors: [{status: 200, missing: true, means: empty}]", "errors[0].path", "what is missing"},
		{walk + "errors: [{status: 200, path: data, equals: x, missing: true, means: empty}]", "errors[0].missing", "equals"},
		{url + "position: head_walk\nid: $.id", "id", "user.name"},
		{walk + "items: '$.data[*]'", "items", "user.name"},
		{walk + "items: '.data'", "items", "user.name"},
		{walk + "type: 'names[0].it'", "type", "user.name"},
		{walk + "paging: {param: c, cursor: '$.next'}", "paging.cursor", "user.name"},
		{walk + "errors: [{status: 404, path: 'errors[0].code', means: lost}]", "errors[0].path", "user.name"},
		{walk + "auth: {basic: {user: 'a:b'}}", "auth.basic.user", "colon"},
		{walk + "auth: {basic: {password: x}}", "auth.basic.user", "is missing; it is the name"},
		{walk + "errors: [{status: 404, means: gone}]", "errors[0].means", "gone"},
	} {
		var h HTTP
		if err := yaml.UnmarshalWithOptions([]byte(test.yaml), &h, yaml.Strict()); err != nil {
			t.Errorf("%s\n%v", test.yaml, err)
			continue
		}
		problems := h.Problems()
		if len(problems) != 1 || problems[0].Path != test.path || !strings.Contains(problems[0].Text, test.text) {
			t.Errorf("%s\ngot %+v, want one at %s with %q", test.yaml, problems, test.path, test.text)
		}
	}
}

func TestSoundPlacesHaveNoProblems(t *testing.T) {
	for _, text := range []string{
		"position: tail_cursor\npaging: {in: path, cursor: next, done: done}\nurl: 'https://a.example/{cursor}/next'\nid: '{a}@{@hash}'",
		"url: https://a.example/e\nposition: tail_cursor\nmethod: POST\nbody: '{{\"q\": {word}}}'\npaging: {in: body, param: cursor, cursor: next}\nfirst: {after: '{start}'}",
		"url: https://a.example/e\nposition: tail_cursor\npaging: {param: from, cursor: next}\nfirst: {from: '{start}'}",
		"url: https://a.example/e\nposition: tail_cursor\npaging: {param: i, cursor: iterator}\nseek: {url: 'https://a.example/s', body: '{{\"after\": {start}}}', cursor: iterator}",
		"url: https://a.example/e\nposition: head_walk\npaging: {in: url, cursor: link}\nlayout: unix_ms\ntime: at\nretain: 30d",
		"url: https://a.example/e\nposition: time_window\ntime: at\nwindow: {since: s, until: u, layout: '2006-01-02', lag: 1m, step: 31d, late: true}\nid: '{@item.id}@{@index}'\nexplode: parts",
		"url: https://a.example/e\nposition: ack\nid: id\nack: {method: PATCH, url: 'https://a.example/e/{id}', body: '{{\"seen\": true}}'}",
		"url: https://a.example/e\nposition: ack\nack: {url: 'https://a.example/commit', body: '{{\"to\": {cursor}}}'}\npaging: {param: c, cursor: next}",
		"url: 'https://a.example/c/{company}'\nposition: snapshot\nchanges: {resource: id, updated: =x.updated, ignore: [updated]}\nraw: '{{\"type\": {@type}, {@fields}}}'\n" +
			"for_each: {url: 'https://a.example/c', value: id, as: company, paging: {param: page, cursor: page, size: 50}}",
		"url: https://a.example/e\nposition: head_walk\nauth: {oauth2: {token_url: 'https://login.example/t', client_id: a, client_secret: '{s}'}}\nlimits: {rate: 0.5, burst: 3, reset: X-Reset, reset_in: epoch}",
	} {
		var h HTTP
		if err := yaml.UnmarshalWithOptions([]byte(text), &h, yaml.Strict()); err != nil {
			t.Fatal(text, err)
		}
		if problems := h.Problems(); len(problems) > 0 {
			t.Errorf("%s\ngot %+v", text, problems)
		}
	}
}

const twoFeeds = `
http: {url: https://a.example, auth: {bearer: '{t}'}, headers: {A: a, B: b}, zone: UTC, limits: {every: 5m}}
feeds:
  - {name: one, url: https://a.example/1, position: head_walk, headers: {B: own}, time: at}
  - {name: two, url: https://a.example/2, position: head_walk, auth: {bearer: '{u}'}, zone: Europe/Paris, time: at}
`

func source(t *testing.T, text string) (HTTP, []Feed) {
	t.Helper()
	var s struct {
		HTTP  HTTP   `yaml:"http"`
		Feeds []Feed `yaml:"feeds"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return s.HTTP, s.Feeds
}

func TestFeedsInherit(t *testing.T) {
	h, feeds := source(t, twoFeeds)
	if problems := Problems(&h, feeds); len(problems) > 0 {
		t.Fatal(problems)
	}
	lists := h.Lists(feeds)
	one, two := lists[0], lists[1]
	if one.Auth.Bearer != "{t}" || one.Headers["A"] != "a" || one.Headers["B"] != "own" || one.Zone != "UTC" || one.Limits.Every != "5m" {
		t.Errorf("one is %+v", one)
	}
	if two.Auth.Bearer != "{u}" || two.Headers["B"] != "b" || two.Zone != "Europe/Paris" {
		t.Errorf("two is %+v", two)
	}
	if feeds[1].Headers != nil || h.Headers["B"] != "b" {
		t.Error("what was given has changed")
	}
	refs := Refs(&h, feeds)
	for _, want := range []Ref{{"http.auth.bearer", "t"}, {"feeds[1].auth.bearer", "u"}} {
		if !slices.Contains(refs, want) {
			t.Errorf("no %v in %v", want, refs)
		}
	}
	alone, _ := source(t, "http: {url: https://a.example/1, position: head_walk}")
	if lists := alone.Lists(nil); len(lists) != 1 || lists[0].Name != "" || lists[0].URL != alone.URL {
		t.Errorf("alone is %+v", lists)
	}
}

// What a request puts in by itself is no parameter.
func TestRefsAreParametersOnly(t *testing.T) {
	h, _ := source(t, `
http:
  url: 'https://a.example/{cursor}/{x}/{+u}'
  query: {a: '{x}{q}'}
  body: '{x}{b}'
  first: {a: '{start}{f}{x}'}
  ack: {url: '{id}{k}', body: '{id}{ids}{cursor}{l}'}
  seek: {url: '{start}{m}', body: '{start}{n}'}
  for_each: {url: '{e}', query: {a: '{g}'}, value: id, as: x}
  auth: {oauth2: {token_url: '{t}', client_id: '{c}', client_secret: '{s}', params: {a: '{p}'}}}
  fetch_one: '{id}{o}'
  raw: '{not}{one}'
  position: head_walk
`)
	var names []string
	for _, r := range h.Refs() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "b c e f g k l m n o p q s t u" {
		t.Errorf("the parameters are %s", got)
	}
}

func TestProblemsOfFeeds(t *testing.T) {
	for _, test := range []struct{ old, new, path, text string }{
		{"name: two", "name: one", "feeds[1].name", "another feed"},
		{"name: two", "name: Two", "feeds[1].name", "Two"},
		{"name: two, ", "", "feeds[1].name", "missing"},
		{"https://a.example/2", "https://b.example/2", "feeds[1].url", "origin"},
		{"zone: UTC,", "zone: UTC, position: head_walk,", "http.position", "each of feeds"},
		{"zone: UTC,", "zone: UTC, items: data,", "http.items", "each of feeds"},
		{"{bearer: '{t}'}", "{bearer: '{t'}", "http.auth.bearer", "without its }"},
		{"every: 5m", "every: x", "http.limits.every", "duration"},
		{"{A: a, B: b}", "{'A A': a, B: b}", "http.headers.A A", "header"},
		{"{B: own}", "{Host: own}", "feeds[0].headers.Host", "connection"},
		{"position: head_walk, auth", "position: nowhere, auth", "feeds[1].position", "nowhere"},
	} {
		h, feeds := source(t, strings.Replace(twoFeeds, test.old, test.new, 1))
		problems := Problems(&h, feeds)
		if len(problems) != 1 || problems[0].Path != test.path || !strings.Contains(problems[0].Text, test.text) {
			t.Errorf("%s for %s: got %+v, want one at %s with %q", test.new, test.old, problems, test.path, test.text)
		}
	}
}

func TestPresetsOfTheUser(t *testing.T) {
	good := "name: mine\nwith: {base_url: {about: a, default: https://a.example}}\nidentity: '{base_url}'\nhttp: {url: '{base_url}/e', position: head_walk}\n"
	if p, err := Parse([]byte(good)); err != nil || p.Name != "mine" {
		t.Fatal(p, err)
	}
	for _, test := range []struct{ old, new, text string }{
		{"name: mine", "name: Mine", "name is"},
		{"/e'", "/{x}'", "http.url has {x}, which is not in with"},
		{"with: {", "with: {x: {about: a}, ", "with.x is used by nothing"},
		{"with: {", "with: {id: {about: a}, ", "with.id can't be"},
		{"identity: '{base_url}'", "identity: a", "identity has no parameter"},
		{"identity: '{base_url}'", "identity: '{y}'", "identity has {y}"},
		{"base_url: {about: a, default: https://a.example}", "x: {about: a}", "with.base_url is missing"},
		{"head_walk", "backwards", "http.position is"},
		{"name: mine", "nmae: mine", "line 1"},
		{"name: mine", strings.Repeat("#", 70_000), "longer than"},
		{"name: mine", strings.Repeat("[", 20_000), "words and signs"},
		{"with: {base_url", "with: {x: {about: a}, base_url", "with.x"},
	} {
		_, err := Parse([]byte(strings.Replace(good, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s for %s: got %v, want %q", test.new, test.old, err, test.text)
		}
	}
	for name, want := range map[string]bool{"flatpeak": false, "mine.yaml": true, "./mine": true, "/etc/p.yml": true} {
		if IsFile(name) != want {
			t.Errorf("IsFile(%s) = %v", name, !want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1d12h": 36 * time.Hour, "14d": 14 * day, "100ms": 100 * time.Millisecond} {
		if got, err := Duration(text); got != want || err != nil {
			t.Errorf("Duration(%s) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "14", "d", "1d-1h", "1d+1h", "999999d", "1d12"} {
		if got, err := Duration(text); err == nil {
			t.Errorf("Duration(%s) = %v", text, got)
		}
	}
}

// Whatever a recipe holds, checking it ends with problems or none, and never with a panic.
func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		text, err := Text(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return // what is slow is the YAML parser, and bounded
		}
		if p, err := Parse([]byte(text)); err == nil {
			p.HTTP.Lists(p.Feeds)
		}
	})
}
