package sources

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

const clientSecret = "s3cr:et/+ä"

// grants is an OAuth2 server, and an API of another origin that wants its tokens.
type grants struct {
	tokens, api *httptest.Server
	answer      http.HandlerFunc // of the OAuth2 server
	given       atomic.Int64     // tokens
	asked       atomic.Int64     // requests to the API
	refuse      atomic.Value     // the token that the API refuses
	last        atomic.Value     // the form that was sent last
	header      atomic.Value
}

func newGrants(t *testing.T) *grants {
	g := &grants{}
	g.refuse.Store("")
	g.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"eyJtoken-%d","token_type":"Bearer","expires_in":3600}`, g.given.Load())
	}
	g.tokens = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.given.Add(1)
		_ = r.ParseForm()
		g.last.Store(r.PostForm)
		g.header.Store(r.Header.Clone())
		g.answer(w, r)
	}))
	t.Cleanup(g.tokens.Close)
	g.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		token := r.Header.Get("Authorization")
		if !strings.HasPrefix(token, "Bearer eyJtoken-") || token == "Bearer "+g.refuse.Load().(string) {
			w.WriteHeader(401)
			return
		}
		io.WriteString(w, "[]")
	}))
	t.Cleanup(g.api.Close)
	return g
}

func (g *grants) recipe() recipe.HTTP {
	return recipe.HTTP{URL: g.api.URL + "/events", Position: recipe.HeadWalk, Headers: map[string]string{"X-Private": "{private}"}, Auth: recipe.Auth{OAuth2: &recipe.OAuth2{
		TokenURL: g.tokens.URL + "/token", ClientID: "client-7", ClientSecret: "{secret}", Scopes: []string{"a", "b"}, Params: map[string]string{"audience": "events"},
	}}}
}

func oauth2Source(t *testing.T, r recipe.HTTP, o Options) *HTTP {
	t.Helper()
	h, err := New(r, map[string]event.Secret{"secret": event.NewSecret(clientSecret), "private": event.NewSecret("for the API alone")}, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestOAuth2AsksAsTheGrantSays(t *testing.T) {
	for _, inBody := range []bool{false, true} {
		g := newGrants(t)
		r := g.recipe()
		r.Auth.OAuth2.InBody = inBody
		if _, err := oauth2Source(t, r, Options{UserAgent: "tidings/7"}).Fetch(t.Context(), poller.Request{}); err != nil {
			t.Fatal(err)
		}
		form, header := g.last.Load().(url.Values), g.header.Load().(http.Header)
		want := url.Values{"grant_type": {"client_credentials"}, "scope": {"a b"}, "audience": {"events"}}
		basicAuth := "Basic " + basic("client-7", url.QueryEscape(clientSecret))
		if inBody {
			want.Set("client_id", "client-7")
			want.Set("client_secret", clientSecret)
			basicAuth = ""
		}
		if form.Encode() != want.Encode() || header.Get("Authorization") != basicAuth || header.Get("User-Agent") != "tidings/7" {
			t.Errorf("in body %t: asked with %v and %v", inBody, form, header)
		}
		if header.Get("X-Private") != "" {
			t.Error("a header of the API's went to the OAuth2 server")
		}
	}
}

func TestOneGrantForAll(t *testing.T) {
	g := newGrants(t)
	r := g.recipe()
	lists := []recipe.Feed{{Name: "one", HTTP: r}, {Name: "two", HTTP: r}}
	s, err := NewSource(lists, map[string]event.Secret{"secret": event.NewSecret(clientSecret)}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fetch := func() {
		var wg sync.WaitGroup
		for _, f := range append(s.Fetchers(), s.Fetchers()...) {
			wg.Go(func() {
				if _, err := f.Fetch(t.Context(), poller.Request{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	fetch()
	if n := g.given.Load(); n != 1 {
		t.Errorf("%d tokens for two lists", n)
	}
	g.refuse.Store("eyJtoken-1")
	fetch()
	if n := g.given.Load(); n != 2 {
		t.Errorf("%d tokens after one was refused", n)
	}
}

func TestOAuth2TokenIsRenewedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := 0
		r := recipe.HTTP{URL: "https://api.example.com", Position: recipe.HeadWalk, Auth: recipe.Auth{OAuth2: &recipe.OAuth2{
			TokenURL: "https://login.example.com/token", ClientID: "c", ClientSecret: "{secret}",
		}}}
		h := oauth2Source(t, r, Options{Transport: roundTrip(func(r *http.Request) string {
			if r.URL.Host == "login.example.com" {
				given++
				return fmt.Sprintf(`{"access_token":"t%d","expires_in":"1000"}`, given)
			}
			if want := fmt.Sprintf("Bearer t%d", given); r.Header.Get("Authorization") != want {
				t.Errorf("got %q, want %q", r.Header.Get("Authorization"), want)
			}
			return "[]"
		})})
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {799 * time.Second, 1}, {2 * time.Second, 2}} {
			time.Sleep(step.wait)
			if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil || given != step.want {
				t.Fatalf("%v, %d tokens, want %d", err, given, step.want)
			}
		}
	})
}

func TestOAuth2ThatFails(t *testing.T) {
	const jsonType, form = "application/json", "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		status int
		kind   string
		body   string
		health event.SourceHealth
		after  time.Duration
		want   string
	}{
		"invalid client":    {400, jsonType, `{"error":"invalid_client","error_description":"no client-7"}`, event.SourceRefused, 7 * time.Second, "says invalid_client; check client_id"},
		"401":               {401, jsonType, `{"error":"x"}`, event.SourceRefused, 7 * time.Second, "check client_id"},
		"scope":             {400, form, `error=invalid_scope`, event.SourceRefused, 7 * time.Second, "invalid_scope"},
		"another error":     {400, jsonType, `{"error":"invalid_request"}`, event.SourceFailing, 7 * time.Second, "says invalid_request"},
		"error with 200":    {200, jsonType, `{"error":"access_denied"}`, event.SourceRefused, 7 * time.Second, "access_denied"},
		"429":               {429, jsonType, `{}`, event.SourceLimited, 7 * time.Second, "asked later"},
		"503":               {503, "text/html", `<html>`, event.SourceLimited, 7 * time.Second, "asked later"},
		"500":               {500, jsonType, `echo: ` + clientSecret + ` ` + url.QueryEscape(clientSecret) + ` ` + basic("client-7", url.QueryEscape(clientSecret)), event.SourceFailing, 7 * time.Second, "500 Internal Server Error"},
		"html":              {200, "text/html", `<html>eyJhidden`, event.SourceFailing, 0, "no token as RFC 6749 has it"},
		"no token":          {200, jsonType, `{"token":"eyJhidden"}`, event.SourceFailing, 0, "no token as RFC 6749 has it"},
		"another type":      {200, jsonType, `{"access_token":"eyJhidden","token_type":"mac"}`, event.SourceFailing, 0, `type "MAC"`},
		"control character": {200, jsonType, `{"access_token":"eyJhidden\n"}`, event.SourceFailing, 0, "control character"},
		"without end":       {200, jsonType, `{"x":"` + strings.Repeat("eyJhidden", 1<<18), event.SourceFailing, 0, "no token as RFC 6749 has it"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrants(t)
			g.answer = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}
			_, err := oauth2Source(t, g.recipe(), Options{}).Fetch(t.Context(), poller.Request{})
			fe := fetchError(t, err)
			if fe.Health != test.health || fe.After != test.after || !strings.Contains(err.Error(), test.want) ||
				!strings.HasPrefix(err.Error(), "POST "+g.tokens.URL+"/token") {
				t.Errorf("got %s %s %v", fe.Health, fe.After, err)
			}
			for _, secret := range []string{"eyJhidden", clientSecret, url.QueryEscape(clientSecret), basic("client-7", url.QueryEscape(clientSecret))} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret is in %v", err)
				}
			}
			if g.asked.Load() != 0 {
				t.Error("the API was asked without a token")
			}
		})
	}
}

func TestOAuth2SecretStaysAtItsOrigin(t *testing.T) {
	g := newGrants(t)
	stolen := false
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen = true }))
	defer thief.Close()
	for _, status := range []int{302, 307, 308} {
		g.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) }
		_, err := oauth2Source(t, g.recipe(), Options{}).Fetch(t.Context(), poller.Request{})
		if err == nil || !strings.Contains(err.Error(), "another origin") || stolen {
			t.Errorf("%d: %v, stolen %t", status, err, stolen)
		}
	}
	g.tokens.Close()
	_, err := oauth2Source(t, g.recipe(), Options{}).Fetch(t.Context(), poller.Request{})
	if fe := fetchError(t, err); fe.Health != event.SourceFailing || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %s %v", fe.Health, err)
	}
}
