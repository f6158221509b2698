package sources

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// newWindow is a lister of a recipe for a window.
func newWindow(t testing.TB, r recipe.HTTP) lister {
	t.Helper()
	r.URL, r.Position, r.Window = "https://api.example.com", "time_window", recipe.Window{Since: "since"}
	if r.Time == "" {
		r.Time = "time"
	}
	if problems := r.Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	l, err := newLister("s", r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestIDsAndTypesByTemplate(t *testing.T) {
	const item = `{"id":"a","n":7,"o":{"p":"q"},"time":1,"none":null}`
	for text, want := range map[string]string{
		"{id}@{n}": "a@7", "{o.p}": "q", "{id}/{none}": "", "{id}/{missing}": "", "{{{id}}}": "{a}", "=word": "word", "={id}": "{id}", "o.p": "q", "": "",
	} {
		l := newWindow(t, recipe.HTTP{Type: text})
		page, err := l.page("["+item+"]", place{}, time.Time{})
		if err != nil || page.Events[0].Type != want {
			t.Errorf("type %s: %+v, %v; want %q", text, page.Events, err, want)
		}
	}
	l := newWindow(t, recipe.HTTP{ID: "{id}@{@hash}"})
	id := func(item string) string {
		page, err := l.page("["+item+"]", place{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return page.Events[0].ID
	}
	same := []string{item, ` { "time" : 1, "none":null,"n":7,"o":{"p":"q" },"id":"a"} `}
	if id(same[0]) != id(same[1]) || len(id(item)) != len("a@")+32 {
		t.Errorf("%s and %s", id(same[0]), id(same[1]))
	}
	seen := map[string]string{}
	for _, other := range []string{
		item, `{"id":"a","n":7.0,"o":{"p":"q"},"time":1,"none":null}`, `{"id":"a","n":7,"o":{"p":"q"},"time":1}`, `{"id":"a","n":7,"o":["p","q"],"time":1,"none":null}`,
		`{"id":"a","n":7,"o":{"p":"q","r":[1,2]}}`, `{"id":"a","n":7,"o":{"p":"q","r":[2,1]}}`, `{"id":"a","n":7,"o":{"p":"q","r":[[2],1]}}`, `{"id":"a","n":"7","o":{"p":"q","r":[2,1]}}`,
	} {
		if of, twice := seen[id(other)]; twice {
			t.Errorf("%s and %s have one hash", of, other)
		}
		seen[id(other)] = other
	}
}

func TestExplode(t *testing.T) {
	l := newWindow(t, recipe.HTTP{
		Items: "data", Explode: "payload.list", ID: "{@item.delivery_id}/{@index}/{meter}", Type: "{@item.kind}.{meter}", Time: "@item.at",
		Raw: `{{"id":{@id},"around":{@item.delivery_id},"i":{@index},"self":{@item}}}`,
	})
	page, err := l.page(`{"data":[
		{"delivery_id":"d1","kind":"k","at":"2026-01-02T03:04:05Z","payload":{"list":[ {"meter":"m1"} ,{"meter":"m2"}, 7 ]}},
		{"delivery_id":"d2","kind":"k","payload":{"list":[]}},
		{"delivery_id":"d3","kind":"k","payload":{"list":null}},
		{"delivery_id":"d4","kind":"k","payload":{}},
		8]}`, place{size: 5}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Events {
		if e.Broken != "" {
			got = append(got, e.Broken+": "+string(e.Data))
			continue
		}
		got = append(got, fmt.Sprint(e.ID, " ", e.Type, " ", e.Time.Unix(), " ", string(e.Data)))
	}
	want := []string{
		`d1/0/m1 k.m1 1767323045 {"id":"d1/0/m1","around":"d1","i":"0","self":{"meter":"m1"}}`,
		`d1/1/m2 k.m2 1767323045 {"id":"d1/1/m2","around":"d1","i":"1","self":{"meter":"m2"}}`,
		`it is a number, not an object: 7`,
		`it has nothing at payload.list, not the array of events: {"delivery_id":"d4","kind":"k","payload":{}}`,
		`it is a number, not an object: 8`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if !page.Full || page.Hashed != 0 {
		t.Errorf("full %v, hashed %d", page.Full, page.Hashed)
	}
}

func TestRawBodies(t *testing.T) {
	const item = ` {"id":"a\u00e9", "n":1.50 ,"s":"q\"","o":{"x": [1, 2]},"time":"2026-01-02T03:04:05.5+01:00","kind":"k"} `
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for text, want := range map[string]string{
		`{o}`:                               `{"x": [1, 2]}`,
		`{o.x}`:                             `[1, 2]`,
		`{none}`:                            `null`,
		`{@item}`:                           strings.TrimSpace(item),
		`{{"n":{n},"s":{s},"none":{none}}}`: `{"n":1.50,"s":"q\"","none":null}`,
		`{{"id":{@id},"type":{@type},"time":{@time},"now":{@now}}}`: `{"id":"aé","type":"k","time":"2026-01-02T02:04:05.5Z","now":"2026-05-06T07:08:09Z"}`,
		`{{"eventType":{@type},{@fields}}}`:                         `{"eventType":"k",` + strings.Trim(item, " {}") + `}`,
		`{{{@fields},"more":[{@item},{id}]}}`:                       `{` + strings.Trim(item, " {}") + `,"more":[` + strings.TrimSpace(item) + `,"a\u00e9"]}`,
	} {
		l := newWindow(t, recipe.HTTP{ID: "id", Type: "kind", Raw: text})
		page, err := l.page("["+item+"]", place{}, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(page.Events[0].Data); got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		`{{"eventType":{@type},{@fields}}}`: `{"eventType":""}`, `{{{@fields} , "a":{@time}}}`: `{ "a":null}`, `{{{@fields}}}`: `{}`,
	} {
		l := newWindow(t, recipe.HTTP{Raw: text})
		if page, err := l.page("[{ }]", place{}, now); err != nil || string(page.Events[0].Data) != want {
			t.Errorf("%s: %s, %v", text, page.Events[0].Data, err)
		}
	}
	l := newWindow(t, recipe.HTTP{Explode: "list", Raw: `[{@item.big},{@item.big}]`})
	l.max = 10_000
	body := `[{"big":"` + strings.Repeat("x", 2000) + `","list":[{},{},{},{}]}]`
	if _, err := l.page(body, place{}, now); err == nil || !strings.Contains(err.Error(), "more than 10000 bytes") {
		t.Errorf("a page that is made larger than memory allows: %v", err)
	}
}

func TestZonesAndLayouts(t *testing.T) {
	for _, test := range []struct{ zone, layout, text, want string }{
		{"Europe/London", "", `"2026-07-01T12:00:00"`, "2026-07-01T11:00:00Z"},
		{"Europe/London", "", `"2026-07-01T12:00:00Z"`, "2026-07-01T12:00:00Z"},
		{"", "02.01.2006 15:04", `"03.02.2026 12:00"`, "2026-02-03T12:00:00Z"},
		{"Europe/Berlin", "02.01.2006 15:04", `"03.02.2026 12:00"`, "2026-02-03T11:00:00Z"},
		{"", "02.01.2006 15:04", `"2026-02-03T12:00:00Z"`, "2026-02-03T12:00:00Z"},
		{"", "unix", `12`, "1970-01-01T00:00:12Z"},
		{"", "unix", `1767323045123`, "0001-01-01T00:00:00Z"}, // the year 57973
		{"", "unix", `"1767323045.25"`, "2026-01-02T03:04:05.25Z"},
		{"", "unix_ms", `1767323045123`, "2026-01-02T03:04:05.123Z"},
		{"", "unix_ms", `1.5`, "1970-01-01T00:00:00.0015Z"},
		{"", "unix_us", `1767323045123456`, "2026-01-02T03:04:05.123456Z"},
		{"", "unix_ns", `1767323045123456789`, "2026-01-02T03:04:05.123456789Z"},
		{"", "", `"/Date(1767323045123+0100)/"`, "2026-01-02T03:04:05.123Z"},
		{"", "unix", `"/Date(1767323045123)/"`, "2026-01-02T03:04:05.123Z"},
		{"", "", `"/Date(-5)/"`, "0001-01-01T00:00:00Z"},
		{"", "", `"/Date(1767323045123"`, "0001-01-01T00:00:00Z"},
		{"", "unix", `"soon"`, "0001-01-01T00:00:00Z"},
		{"", "unix", `-5`, "0001-01-01T00:00:00Z"},
	} {
		l := newWindow(t, recipe.HTTP{Zone: test.zone, Layout: test.layout})
		page, err := l.page(`[{"time":`+test.text+`}]`, place{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got := page.Events[0].Time.Format(time.RFC3339Nano); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestResources(t *testing.T) {
	const connection = `{"id":"c1","status":"ok","updated":"2026-01-02T03:04:05","n":1}`
	types := recipe.Changes{Resource: "id", Created: "=c.created", Updated: "c.{status}", Deleted: "=c.deleted", Ignore: []string{"updated", "n"}}
	r := recipe.HTTP{URL: "https://api.example.com", Position: "snapshot", Changes: types, Raw: `{{"eventType":{@type},{@fields}}}`}
	h, err := New(r, nil, Options{Source: "s"})
	if err != nil {
		t.Fatal(err)
	}
	one := func(h *HTTP, item string) event.Event {
		page, err := h.list.page("["+item+"]", place{}, time.Time{})
		if err != nil || len(page.Events) != 1 {
			t.Fatal(page, err)
		}
		return page.Events[0]
	}
	a, b := one(h, connection), one(h, strings.Replace(connection, "03:04", "05:06", 1))
	if a.ID != b.ID || a.Resource != "c1" || !strings.HasPrefix(a.ID, "c1@") || string(a.Data) != connection {
		t.Errorf("%+v and %+v", a, b)
	}
	if c := one(h, strings.Replace(connection, "ok", "no", 1)); c.ID == a.ID || c.Resource != "c1" {
		t.Errorf("%+v", c)
	}
	if e := one(h, `{"status":"ok"}`); e.Resource != hash(`{"status":"ok"}`) || e.ID == "" {
		t.Errorf("a resource without an id: %+v", e)
	}
	r.ID = "n"
	if h, err = New(r, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	if e := one(h, connection); e.ID != a.ID {
		t.Errorf("a snapshot's id is %s, not its version, %s", e.ID, a.ID)
	}
	gone := event.Event{ID: "c1@deleted", Resource: "c1"}
	for change, e := range map[poller.Change]event.Event{poller.Created: a, poller.Updated: a, poller.Deleted: gone} {
		if !h.Wrap(&e, change) {
			t.Errorf("no event of %s", change)
		}
		want := map[poller.Change]string{
			poller.Created: `c.created {"eventType":"c.created",` + connection[1:], poller.Updated: `c.ok {"eventType":"c.ok",` + connection[1:],
			poller.Deleted: `c.deleted {"eventType":"c.deleted","id":"c1"}`,
		}
		if got := e.Type + " " + string(e.Data); got != want[change] {
			t.Errorf("%s: %s", change, got)
		}
	}

	r.Changes.Updated, r.Raw = "", ""
	if h, err = New(r, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	e := a
	if h.Wrap(&e, poller.Updated) {
		t.Error("an event of a change that the recipe leaves out")
	}
	if !h.Wrap(&e, poller.Created) || string(e.Data) != connection || !h.Wrap(&gone, poller.Deleted) || string(gone.Data) != `{"id":"c1"}` {
		t.Errorf("%s, %s", e.Data, gone.Data)
	}

	h, err = New(recipe.HTTP{
		URL: "https://api.example.com", Position: "time_window", Window: recipe.Window{Since: "s"}, ID: "{id}@{updated}", Time: "updated", Zone: "Europe/Berlin",
		Changes: recipe.Changes{Resource: "id", Created: "=c.created", Born: "created"},
	}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e = one(h, `{"id":"d1","updated":"2026-01-02T03:04:05","created":"2026-01-01T00:00:00"}`)
	if e.ID != "d1@2026-01-02T03:04:05" || e.Resource != "d1" || e.Time.Hour() != 2 || e.Born.Format(time.RFC3339) != "2025-12-31T23:00:00Z" {
		t.Errorf("%+v", e)
	}
}

// FuzzTemplates makes events of anything by any template that a recipe may have: what stands in them is JSON.
func FuzzTemplates(f *testing.F) {
	for _, raw := range []string{`{{"a":{@type},{@fields}}}`, `{x}`, `[{@item},{@id},{@time},{@now}]`, `{{{@fields},"b":{@item.y}}}`, `{{"a":[{x},{@index}]}}`} {
		f.Add(`[{"x":1},{},{"x":{"y":[1,2]},"y":"\ud800"},3,[],{"x":"\u0000"}]`, raw, "{x}@{@hash}", "x")
	}
	f.Fuzz(func(t *testing.T, body, raw, id, explode string) {
		r := recipe.HTTP{
			URL: "https://api.example.com", Position: "time_window", Window: recipe.Window{Since: "s"}, Time: "x", Raw: raw, ID: id, Explode: explode, Type: "x",
		}
		if len(r.Problems()) > 0 {
			return
		}
		l, err := newLister("s", r)
		if err != nil {
			t.Fatal(err)
		}
		page, err := l.page(body, place{}, time.Unix(0, 0))
		if err != nil {
			return
		}
		for _, e := range page.Events {
			if e.ID == "" || len(e.ID) > maxID || !json.Valid(e.Data) {
				t.Fatalf("%q makes %q, %q", raw, e.ID, e.Data)
			}
		}
	})
}

// FuzzElements cuts arrays as gjson does, wherever they stand in a document.
func FuzzElements(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"]"},[2]],"c":[3]}`, `{"x":{"a":[ ]},"a":[ "]" , null ]}`, `{"a":{"0":1}}`, `{"a":[]}`, `[1]`, `{"a":[{}],"a":[{"b":1}]}`} {
		f.Add(seed, "a")
	}
	f.Add(`{"x":[{"a":[1]},{"a":[2,3]}]}`, "x.1.a")
	f.Fuzz(func(t *testing.T, body, path string) {
		if !gjson.Valid(body) || computedPath(path) {
			return
		}
		doc := gjson.Parse(body)
		want := doc
		if path != "" {
			want = doc.Get(path)
		}
		got := array(doc, path)
		if got.IsArray() != want.IsArray() {
			t.Fatalf("%s at %q: %s, want %s", body, path, kind(got), kind(want))
		}
		if !want.IsArray() {
			return
		}
		var cut []string
		elements(got, func(e gjson.Result) bool { cut = append(cut, e.Raw); return true })
		for i, e := range want.Array() {
			if i >= len(cut) || cut[i] != e.Raw {
				t.Fatalf("%s at %q: cut %q", body, path, cut)
			}
		}
		if len(cut) != len(want.Array()) {
			t.Fatalf("%s at %q: cut %q", body, path, cut)
		}
	})
}

func computedPath(path string) bool {
	r := recipe.HTTP{URL: "https://a.example", Position: "head_walk", Items: path}
	return len(r.Problems()) > 0
}
