package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A source that an OAuth2 server lets in, or doesn't, is probed, saved and probed again without network; no token and no secret is in what
// is saved, whatever says it.
func TestProbeWithOAuth2(t *testing.T) {
	const secret, token = "client-secret-of-ours", "token-of-theirs"
	for _, refused := range []bool{false, true} {
		p := &probing{site: &site{t: t, dir: t.TempDir()}}
		p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case r.URL.Path == "/token" && refused:
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintf(w, `{"error":"invalid_client","error_description":"not %s"}`, r.FormValue("client_secret"))
			case r.URL.Path == "/token":
				fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
			default:
				fmt.Fprintf(w, `[{"id":"e1","who":%q}]`, r.Header.Get("Authorization"))
			}
		}))
		defer p.server.Close()
		t.Setenv("BASE", p.server.URL)
		t.Setenv("CLIENT_SECRET", secret)
		p.write(`sources:
  it:
    http:
      url: ${env:BASE}/events
      auth: {oauth2: {token_url: "${env:BASE}/token", client_id: me, client_secret: "${env:CLIENT_SECRET}", in_body: true}}
      id: id
      position: head_walk
    start: earliest
`)
		code, r := p.probe("it", "--save", p.path("saved"))
		if refused && (code != exitFailed || r.Health != "refused" || !strings.Contains(r.Error, "invalid_client")) || !refused && (code != 0 || r.Counts[verdictNew] != 1) {
			t.Errorf("refused %v: exit code %d, %s, %v, %s", refused, code, r.Health, r.Counts, r.Error)
		}
		if first := r.Steps[0].Request; !first.Login || refused != (first.Status == http.StatusUnauthorized) {
			t.Errorf("refused %v: the login is told as %+v", refused, first)
		}
		for name, content := range p.files("saved") {
			if strings.Contains(content, secret) || strings.Contains(content, token) {
				t.Errorf("refused %v: %s has a secret in it:\n%s", refused, name, content)
			}
		}
		p.server.Close()
		again, r2 := p.probe("--from", p.path("saved"))
		if again != code || r2.Health != r.Health || r2.Counts[verdictNew] != r.Counts[verdictNew] || len(r2.Steps) != len(r.Steps) ||
			r2.Steps[0].Request.Begins != r.Steps[0].Request.Begins {
			t.Errorf("refused %v: the recording exits with %d, %s: %+v", refused, again, r2.Error, r2.Steps)
		}
	}
}
