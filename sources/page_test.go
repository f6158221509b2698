package sources

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tidings/recipe"
)

func flatpeakLister(t testing.TB, change func(*recipe.HTTP)) lister {
	t.Helper()
	preset, err := recipe.Find("flatpeak")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&preset.HTTP)
	}
	l, err := newLister("fp", preset.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func list(items ...string) string {
	return `{"object":"list","has_more":false,"data":[` + strings.Join(items, ",") + `]}`
}

func TestBytesAreKept(t *testing.T) {
	items := []string{
		"{ \"id\" :\t\"a\",\r\n \"n\": 12345678901234567890 , \"f\":1e400,\"g\":-0.0, \"h\": 1.10 }",
		`{"id":"b","s":"\u00e9\/\u2028\ud83d\ude00 é","":{},"id":"second","deep":[[[{"]":"}\""}]]]}`,
		"{\"id\":\"c\",\"bad utf8\":\"\xff\xfe\",\"del\":\"\x7f\"}",
		`{"id":"d","nul":"\u0000"}`,
	}
	l := flatpeakLister(t, nil)
	page, err := l.page("\ufeff \r\n"+list(strings.Join(items, " \n,\t"))+"\n", place{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Events) != len(items) {
		t.Fatalf("%d events", len(page.Events))
	}
	for i, e := range page.Events {
		if string(e.Data) != items[i] || e.ID != string("abcd"[i]) || e.Source != "fp" {
			t.Errorf("got %q with id %q", e.Data, e.ID)
		}
	}
}

func TestIDs(t *testing.T) {
	long := strings.Repeat("x", maxID+1)
	for item, want := range map[string]string{
		`{"id":17}`:                           "17",
		`{"id":"17"}`:                         "17",
		`{"id":12345678901234567890123}`:      "12345678901234567890123",
		`{"id":1e400}`:                        "1e400",
		`{"id":1.50}`:                         "1.50",
		`{"id":true}`:                         "true",
		`{"id":{"t":1, "q":2}}`:               `{"t":1, "q":2}`,
		`{"id":"a\u0000b"}`:                   "a\x00b",
		`{"id":"\u00e9"}`:                     "é",
		`{"id":"\ud800"}`:                     `\ud800`, // half a pair has no text; another half must stay another id
		`{"id":"\udbff"}`:                     `\udbff`,
		`{"id":"first","id":"second"}`:        "first",
		"{\"id\":\"caf\xe9\"}":                hash("caf\xe9"), // no text of JSON, which a position is
		`{"id":"` + long + `"}`:               hash(long),
		`{"id":"` + long + `","more":"data"}`: hash(long),
		`{"x":1}`:                             hash(`{"x":1}`),
		`{"id":null}`:                         hash(`{"id":null}`),
		`{"id":""}`:                           hash(`{"id":""}`),
		`{"data":{"id":"inner"}}`:             hash(`{"data":{"id":"inner"}}`),
	} {
		l := flatpeakLister(t, nil)
		page, err := l.page(list(item), place{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		hashed := 0
		if strings.HasPrefix(want, "sha256_") && !strings.Contains(item, long) && utf8.ValidString(item) {
			hashed = 1
		}
		if e := page.Events[0]; e.ID != want || page.Hashed != hashed || e.Broken != "" {
			t.Errorf("%.60s: id %.80q, hashed %d, broken %q; want %.80q", item, e.ID, page.Hashed, e.Broken, want)
		}
	}
	l := flatpeakLister(t, func(h *recipe.HTTP) { h.ID = "{id}@{at.x}"; h.Paging = recipe.Paging{}; h.FetchOne = "" })
	for item, want := range map[string]string{
		`{"id":1,"at":{"x":"2"}}`: "1@2",
		`{"id":1,"at":{}}`:        hash(`{"id":1,"at":{}}`),
		`{"at":{"x":"2"}}`:        hash(`{"at":{"x":"2"}}`),
	} {
		page, err := l.page(list(item), place{}, time.Time{})
		if err != nil || page.Events[0].ID != want {
			t.Errorf("%s: %+v, %v", item, page.Events, err)
		}
	}
}

func TestItemsThatAreNoObjects(t *testing.T) {
	l := flatpeakLister(t, nil)
	page, err := l.page(list(`{"id":"a"}`, `1e400`, `"x"`, `null`, `[{"id":"b"}]`, `true`), place{}, time.Time{})
	if err != nil || page.Hashed != 0 || len(page.Events) != 6 {
		t.Fatalf("%+v, %v", page, err)
	}
	for i, want := range []string{"", "a number", "a string", "null", "an array", "true or false"} {
		e := page.Events[i]
		if (want == "") != (e.Broken == "") || !strings.Contains(e.Broken, want) {
			t.Errorf("%s: broken %q, want %q", e.Data, e.Broken, want)
		}
		if want != "" && e.ID != hash(string(e.Data)) {
			t.Errorf("%s: id %s", e.Data, e.ID)
		}
	}
}

func TestTypesAndTimes(t *testing.T) {
	l := flatpeakLister(t, nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-01-02T03:04:05Z"`:           at,
		`"2026-01-02T03:04:05.123Z"`:       at.Add(123 * time.Millisecond),
		`"2026-01-02T05:04:05+02:00"`:      at,
		`"2026-01-02T05:04:05.5+0200"`:     at.Add(500 * time.Millisecond),
		`"2026-01-02T03:04:05"`:            at,
		`"2026-01-02T03:04:05.693456313"`:  at.Add(693456313),
		`"2026-01-02 03:04:05"`:            at,
		`"2026-01-02T03:04Z"`:              at.Truncate(time.Minute),
		`"2026-01-02T04:04+01:00"`:         at.Truncate(time.Minute),
		`"2026-01-02 04:04:05.25+01"`:      at.Add(250 * time.Millisecond),
		`"2026-01-02T01:04:05-02"`:         at,
		`"2026-01-02"`:                     at.Truncate(24 * time.Hour),
		`1767323045`:                       at,
		`"1767323045"`:                     at,
		`1767323045.25`:                    at.Add(250 * time.Millisecond),
		`"1767323045.000001"`:              at.Add(time.Microsecond),
		`1767323045007`:                    at.Add(7 * time.Millisecond),
		`1767323045007.5`:                  at.Add(7*time.Millisecond + 500*time.Microsecond),
		`1767323045000007`:                 at.Add(7 * time.Microsecond),
		`1767323045000000007`:              at.Add(7),
		`9999999999999999999`:              {},
		`99999999999999999999999`:          {},
		`1e9`:                              {},
		`-1767323045`:                      {},
		`2026`:                             {},
		`"2026"`:                           {},
		`"yesterday"`:                      {},
		`"2026-13-02T03:04:05Z"`:           {},
		`""`:                               {},
		`null`:                             {},
		`true`:                             {},
		`{"a":1}`:                          {},
		`"0001-01-01T00:00:00Z"`:           {},
		`"1767323045.1234567890123456789"`: at.Add(123456789),
		`"1767323045.` + "\u0663" + `"`:    {},
	} {
		page, err := l.page(list(`{"id":"a","type":"t","time_created":`+text+`}`), place{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if e := page.Events[0]; !e.Time.Equal(want) || e.Time.Location() != time.UTC || e.Type != "t" {
			t.Errorf("%s: %s, want %s", text, e.Time, want)
		}
	}
	for text, want := range map[string]string{
		`"tariff.expired"`: "tariff.expired", `null`: "", `7`: "7", `"\u0061"`: "a",
		`"` + strings.Repeat("é", maxType) + `"`:  strings.Repeat("é", maxType/2),
		`"x` + strings.Repeat("é", maxType) + `"`: "x" + strings.Repeat("é", maxType/2-1),
	} {
		page, err := l.page(list(`{"id":"a","type":`+text+`}`), place{}, time.Time{})
		if err != nil || page.Events[0].Type != want {
			t.Errorf("%.30s: %.30q, %v", text, page.Events[0].Type, err)
		}
	}
	if page, err := l.page(list(`{"id":"a"}`), place{}, time.Time{}); err != nil || page.Events[0].Type != "" || !page.Events[0].Time.IsZero() {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestPaging(t *testing.T) {
	byPath := func(h *recipe.HTTP) { h.Paging = recipe.Paging{Param: "c", Cursor: "next.token"} }
	byPathAndMore := func(h *recipe.HTTP) { h.Paging = recipe.Paging{Param: "c", Cursor: "next.token", More: "more"} }
	onePage := func(h *recipe.HTTP) { h.Paging = recipe.Paging{} }
	root := func(h *recipe.HTTP) { h.Items = ""; h.Paging = recipe.Paging{} }
	long := strings.Repeat("x", maxID+1)
	for _, test := range []struct {
		change func(*recipe.HTTP)
		body   string
		cursor string
		next   string
		err    string
	}{
		{nil, `{"has_more":true,"data":[{"id":"b"},{"id":"a"}]}`, "", "a", ""},
		{nil, `{"has_more":true,"data":[{"id":17},7,{"x":1}]}`, "", "17", ""},
		{nil, `{"has_more":true,"data":[{"id":"` + long + `"}]}`, "", long, ""},
		{nil, `{"has_more":false,"data":[{"id":"b"},{"id":"a"}]}`, "", "", ""},
		{nil, `{"has_more":false,"data":[]}`, "", "", ""},
		{nil, `{"has_more":true,"data":[]}`, "", "", "no item with an id to ask for the next"},
		{nil, `{"has_more":true,"data":[{"x":1},null]}`, "", "", "no item with an id to ask for the next"},
		{nil, `{"has_more":true,"data":[{"id":"a"}]}`, "a", "", "this one again"},
		{nil, `{"data":[{"id":"a"}]}`, "", "", "nothing at has_more"},
		{nil, `{"has_more":null,"data":[{"id":"a"}]}`, "", "", "null at has_more"},
		{nil, `{"has_more":"true","data":[{"id":"a"}]}`, "", "", "a string at has_more"},
		{byPath, `{"data":[{"id":"a"}],"next":{"token":"t2"}}`, "t1", "t2", ""},
		{byPath, `{"data":[{"id":"a"}],"next":{"token":123456789012345678901}}`, "t1", "123456789012345678901", ""},
		{byPath, `{"data":[],"next":{"token":"t2"}}`, "t1", "", ""},
		{byPath, `{"data":[{"id":"a"}],"next":null}`, "t1", "", ""},
		{byPath, `{"data":[{"id":"a"}],"next":{"token":""}}`, "t1", "", ""},
		{byPath, `{"data":[{"id":"a"}],"next":{"token":"t1"}}`, "t1", "", "this one again"},
		{byPathAndMore, `{"data":[],"next":{"token":"t2"},"more":true}`, "", "t2", ""},
		{byPathAndMore, `{"data":[],"next":{"token":"t2"},"more":false}`, "", "", ""},
		{byPathAndMore, `{"data":[{"id":"a"}],"more":true}`, "", "", "nothing at next.token to ask"},
		{onePage, `{"has_more":true,"data":[{"id":"a"}]}`, "", "", ""},
		{root, `[{"id":"a"}]`, "", "", ""},
		{root, `{"data":[]}`, "", "", "where an array of events should stand; one stands at data, which"},
		{nil, `{"has_more":false}`, "", "", "nothing at data, where an array"},
		{nil, `{"has_more":false,"data":null}`, "", "", "null at data"},
		{nil, `{"has_more":false,"data":{"id":"a"}}`, "", "", "an object at data"},
		{nil, `[]`, "", "", "nothing at data"},
		{nil, ``, "", "", "is empty"},
		{nil, " \n", "", "", "is empty"},
		{nil, `<!DOCTYPE html>`, "", "", "HTML"},
		{nil, `Bad gateway`, "", "", "not valid JSON"},
		{nil, `{"has_more":false,"data":[{"id":"a"}]`, "", "", "not valid JSON"},
		{nil, `{"has_more":false,"data":[]}{}`, "", "", "not valid JSON"},
		{nil, `{"has_more":false,"data":[01]}`, "", "", "not valid JSON"},
		{nil, `{"has_more":false,"data":[NaN]}`, "", "", "not valid JSON"},
		{nil, strings.Repeat("[", 1<<22), "", "", "deeper"},
		{nil, strings.Repeat(`{"a":`, 1<<20), "", "", "deeper"},
		{nil, list(`{"id":"a","x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`), "", "", ""},
	} {
		l := flatpeakLister(t, test.change)
		page, err := l.page(test.body, place{cursor: test.cursor}, time.Time{})
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%.80s: %v, want %q", test.body, err, test.err)
			}
		case err != nil || page.Next != test.next || page.More != (test.next != "" && l.recipe.Paging.More != ""):
			t.Errorf("%.80s: next %.80q, more %v, %v; want %.80q", test.body, page.Next, page.More, err, test.next)
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		list(), list(`{"id":"a","type":"t","time_created":"2026-01-02T03:04:05Z","data":{}}`, `{"id":1e400,"x":"\ud800\u0000"}`, `null`, `{}`),
		`{"has_more":true,"data":[{"id":"a","id":"b"},{"id":"c"}],"data":[]}`, `[{"id":7}]`, `{"data":[[[[[]]]]]}`,
		"{\"data\":[{\"id\":\"\xff\"}],\"has_more\":false}", `{"has_more":tru`, "\ufeff[]", "",
	} {
		f.Add(seed, "id", "data")
	}
	f.Add(list(`{"a":{"b":[1,2]}}`), "{a.b.0}@{a}", "data")
	f.Add("{\"\xd3\":[]}", "id", "data")
	f.Add(`{"x":[{"y":[{"id":1}]}]}`, "#(id==1)", "x.#.y|0")
	f.Fuzz(func(t *testing.T, body, id, items string) {
		r := recipe.HTTP{
			URL: "https://api.example.com", Items: items, ID: id, Type: "type", Time: "time_created", Position: recipe.HeadWalk,
			Paging: recipe.Paging{Param: "after", Cursor: recipe.LastID, More: "has_more"},
		}
		if strings.ContainsAny(id, "{}") || id == "" {
			r.Paging.Cursor = "next"
		}
		if len(r.Problems()) > 0 {
			return
		}
		l, err := newLister("s", r)
		if err != nil {
			t.Fatal(err)
		}
		page, err := l.page(body, place{}, time.Time{})
		if err != nil {
			if !utf8.ValidString(err.Error()) && utf8.ValidString(items) {
				t.Fatalf("%q", err)
			}
			return
		}
		if !json.Valid([]byte(strings.Trim(strings.TrimPrefix(body, "\ufeff"), " \t\r\n"))) {
			t.Fatalf("%q was taken for JSON", body)
		}
		if page.More != (page.Next != "") {
			t.Fatalf("more %v, next %q", page.More, page.Next)
		}
		hashed := 0
		for _, e := range page.Events {
			if e.ID == "" || len(e.ID) > maxID || len(e.Type) > maxType || e.Source != "s" {
				t.Fatalf("%+v", e)
			}
			if !strings.Contains(body, string(e.Data)) || !json.Valid(e.Data) {
				t.Fatalf("%q is no piece of %q", e.Data, body)
			}
			if (e.Broken == "") != (e.Data[0] == '{') {
				t.Fatalf("%q: broken %q", e.Data, e.Broken)
			}
			if e.Broken == "" && e.ID == hash(string(e.Data)) {
				hashed++
			}
		}
		if page.Hashed != hashed {
			t.Fatalf("%d are hashed, %d are told", hashed, page.Hashed)
		}
	})
}
