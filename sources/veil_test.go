package sources

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// TestNoErrorHoldsASecret lets the API quote every secret that it was told, in every form, in every kind of failure.
func TestNoErrorHoldsASecret(t *testing.T) {
	const password, header, extra, token, urlPassword = "pw/äö+\"<1>&%0", "hdr-5f6e7d", "extra=1&2 3", "eyJtoken.abc-def_123.sig", "url:pw?/"
	for _, secret := range []string{
		password, header, extra, token, urlPassword, basic("user-7", password), basic("someone", urlPassword),
	} {
		t.Run(secret, func(t *testing.T) { noErrorHolds(t, secret, password, header, extra, token, urlPassword) })
	}
}

func noErrorHolds(t *testing.T, secret, password, header, extra, token, urlPassword string) {
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret), strings.Trim(string(quoted), `"`)}
	echo := strings.Join(forms, " ")
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			io.WriteString(w, echo)
		}
	}
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }
	}
	quotedEcho, err := json.Marshal(echo)
	if err != nil {
		t.Fatal(err)
	}
	failures := map[string]http.HandlerFunc{
		"not JSON": body(echo), "HTML": body("<" + echo), "no items": body(fmt.Sprintf(`{"x":%s}`, quotedEcho)),
		"no array": body(fmt.Sprintf(`{"data":%s}`, quotedEcho)), "no more": body(fmt.Sprintf(`{"data":[%s]}`, quotedEcho)),
		"other id": body(fmt.Sprintf(`{"id":%s}`, quotedEcho)),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://"+url.PathEscape(secret)+".example.com/?"+url.QueryEscape(echo))
			w.WriteHeader(302)
		},
		"bad redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://%zz"+url.QueryEscape(secret))
			w.WriteHeader(302)
		},
		"cut": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			io.WriteString(w, echo)
		},
		"cut within": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			io.WriteString(w, `{"you sent": "`+secret[:len(secret)-2])
		},
		"said at the end": body(strings.Repeat(secret, 1200)),
		"bad status line": func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, secret+" "+secret+"\r\n\r\n")
			conn.Close()
		},
	}
	for _, code := range []int{400, 401, 403, 404, 422, 429, 500, 503} {
		failures[fmt.Sprint(code)] = status(code)
	}
	for name, failure := range failures {
		for _, where := range []string{"list", "login", "one"} {
			if where == "one" && name != "other id" && name != "not JSON" && name != "cut" {
				continue
			}
			a := newAPI(t)
			a.login = body(fmt.Sprintf(`{"token":%q}`, token))
			a.events = failure
			if where == "login" {
				a.login = failure
			}
			r := recipe.HTTP{
				URL: "{base}/events?p={env:P}", Position: "head_walk", Items: "data", ID: "id",
				Query: map[string]string{"q": "{env:P}", "x": "{query:x}"}, Headers: map[string]string{"X-Key": "{h}"},
				Auth:     recipe.Auth{Login: &recipe.Login{URL: "{base}/login", Basic: &recipe.Basic{User: "user-7", Password: "{env:P}"}, Token: "token"}},
				Paging:   recipe.Paging{Param: "after", Cursor: "last_id", More: "has_more"},
				FetchOne: "{base}/events/{env:P}/{id}",
			}
			h, err := New(r, map[string]event.Secret{
				"base":  event.NewSecret(strings.Replace(a.URL, "://", "://someone:"+url.QueryEscape(urlPassword)+"@", 1)),
				"env:P": event.NewSecret(password), "h": event.NewSecret(header), "query:x": event.NewSecret(extra),
			}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if where == "one" {
				_, err = h.FetchOne(t.Context(), "evt_1")
			} else {
				_, err = h.Fetch(t.Context(), poller.Request{Cursor: "evt_1"})
			}
			if err == nil {
				t.Fatalf("%s %s: no error", name, where)
			}
			for _, form := range append(forms, secret[:len(secret)-2]) {
				if where == "login" && secret == token {
					continue // nobody has told it yet
				}
				if strings.Contains(unescape(unescape(err.Error())), form) || strings.Contains(err.Error(), form) {
					t.Errorf("%s %s: %q is in %s", name, where, form, err)
				}
			}
			if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") || len(err.Error()) > 900 {
				t.Errorf("%s %s: not one short line: %q", name, where, err)
			}
			if name == "not JSON" && where == "list" && secret != token && !strings.Contains(err.Error(), "[redacted]") {
				t.Errorf("the test does not quote: %s", err)
			}
		}
	}
}

func TestVeilHidesLongestFirst(t *testing.T) {
	v := newVeil("secret", "secret-and-more", "abc", "")
	if got := v.text("secret-and-more secret abc"); got != "[redacted] [redacted] abc" {
		t.Errorf("got %q", got)
	}
	if got := v.excerpt("it was secret-and-mo"); got != "it was" && got != "it was " {
		t.Errorf("got %q", got)
	}
	if got := v.excerpt(""); got != "" {
		t.Errorf("got %q", got)
	}
}

// A credential that is written into the recipe itself is hidden like one that is not; what is no secret is shown.
func TestWhatStandsInTheRecipe(t *testing.T) {
	for name, auth := range map[string]recipe.Auth{
		"bearer": {Bearer: "sk_live_written"},
		"header": {Header: &recipe.Header{Name: "Authorization", Value: "SSWS sk_live_written"}},
		"basic":  {Basic: &recipe.Basic{User: "me", Password: "sk_live_written"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.events = func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(500)
				io.WriteString(w, "panic: sk_live_written of "+r.Header.Get("Authorization"))
			}
			r := recipe.HTTP{URL: a.URL + "/events/{path}/{key}", Position: "head_walk", Auth: auth}
			h, err := New(r, map[string]event.Secret{"path": event.NewSecret("octo-repo"), "key": event.NewSecret("key-0123")},
				Options{Open: []string{"path"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Fetch(t.Context(), poller.Request{})
			if err == nil || strings.Contains(err.Error(), "sk_live_written") || strings.Contains(err.Error(), "key-0123") {
				t.Errorf("got %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "/events/octo-repo/[redacted] answered 500") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A key that somebody wrote into the recipe in plain is hidden where an API echoes it; what is no credential is shown.
func TestCredentialsInTheRecipeItself(t *testing.T) {
	e := newEcho(t, "")
	e.body = func(r *http.Request) string {
		return fmt.Sprint("<no> ", r.Header["X-Kind"], r.URL.RequestURI(), r.Header["X-Api-Key"], r.Header["Authorization"])
	}
	var told Exchange
	h, err := New(recipe.HTTP{
		URL: e.URL + "/list?app_key=literal-url&year=2026", Position: "tail_cursor", Paging: recipe.Paging{Param: "c", Cursor: "next", Limit: "n", Size: 5},
		Headers: map[string]string{"X-Api-Key": "literal-header", "Authorization": "Token literal-scheme", "X-Kind": "a-kind-of-its-own"},
		Query:   map[string]string{"access_token": "literal-query", "sort_key": "created", "meter_id": "m 1", "zone": "{zone}", "plant": "{plant}"},
		First:   map[string]string{"secret": "literal-first", "since": "2026"},
	}, secrets(map[string]string{"zone": "outside-1", "plant": "shown-2"}), Options{Open: []string{"plant"}, Trace: func(x Exchange) { told = x }})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Fetch(t.Context(), poller.Request{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range []string{err.Error(), told.Request + told.Body + told.Error + told.Key} {
		if strings.Contains(text, "literal-") || strings.Contains(text, "outside-1") || !strings.Contains(text, "a-kind-of-its-own") || !strings.Contains(text, "sort_key=created") {
			t.Error(text)
		}
	}
	if want := "GET " + e.URL + "/list?year=2026&meter_id=m+1&plant=shown-2&n=5&since=2026"; told.Request != want {
		t.Errorf("%s; want %s", told.Request, want)
	}
}
