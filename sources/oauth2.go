package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// newOAuth2 makes the session whose tokens an OAuth2 server gives by the client credentials grant (RFC 6749, 4.4). The server may be of
// another origin than the list: the client's id and secret go there, with the form's fields, and nothing else does.
func (h *HTTP) newOAuth2(o recipe.OAuth2) (*session, error) {
	u, err := expandAddress("auth.oauth2.token_url", o.TokenURL, h.lookup)
	if err != nil {
		return nil, err
	}
	id, err := h.expand("auth.oauth2.client_id", o.ClientID)
	if err != nil {
		return nil, err
	}
	secret, err := h.expand("auth.oauth2.client_secret", o.ClientSecret)
	if err != nil {
		return nil, err
	}
	params, err := expandAll("auth.oauth2.params.", o.Params, h.lookup)
	if err != nil {
		return nil, err
	}
	style := oauth2.AuthStyleInHeader
	if o.InBody {
		style = oauth2.AuthStyleInParams
	}
	h.veil = h.veil.with(secret, basic(url.QueryEscape(id), url.QueryEscape(secret)))
	if password, ok := u.User.Password(); ok {
		h.veil = h.veil.with(password)
	}
	origin := recipe.Origin(u)
	client := &http.Client{
		Transport:     tokenTransport{h.options.Transport, h.options.UserAgent},
		CheckRedirect: func(req *http.Request, via []*http.Request) error { return within(origin, req, via) },
	}
	grant := &clientcredentials.Config{
		ClientID: id, ClientSecret: secret, TokenURL: u.String(), Scopes: o.Scopes, EndpointParams: params, AuthStyle: style,
	}
	what := "POST " + h.shown(u)
	return newSession(what, func(ctx context.Context) (string, time.Duration, error) { return h.grant(ctx, what, client, grant) }), nil
}

// tokenTransport sends the headers that the library does not know of.
type tokenTransport struct {
	base  http.RoundTripper
	agent string
}

func (t tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // as RoundTripper's contract wants it
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", t.agent)
	return t.base.RoundTrip(r)
}

// grant asks for a token, and tells so. The library reads no more than 1 MiB of the answer.
func (h *HTTP) grant(ctx context.Context, what string, client *http.Client, c *clientcredentials.Config) (string, time.Duration, error) {
	r := request{what: what, private: true, instead: `{"access_token":"` + hidden + `-token","token_type":"Bearer"}`, timeout: h.options.LoginTimeout}
	asked := time.Now()
	token, a, err := h.askForToken(ctx, r, client, c)
	life := time.Duration(0)
	if err == nil {
		if kind := token.Type(); !strings.EqualFold(kind, "bearer") {
			err = failing("%s gave a token of the type %q, and only bearer tokens can be used", what, cut(h.veil.text(kind), 40))
		} else if hasControl(token.AccessToken) {
			err = failing("%s gave a token with a line break or another control character, which no header can take", what)
		} else if !token.Expiry.IsZero() {
			life = max(token.Expiry.Sub(asked), 0)
		}
	}
	if err == nil {
		a.status = http.StatusOK
	}
	unanswered := err
	if a.status != 0 { // the answer says it
		unanswered = nil
	}
	h.trace(r, a, time.Since(asked), unanswered)
	if err != nil {
		return "", 0, err
	}
	return token.AccessToken, life, nil
}

// askForToken makes the request. Its answer has a status where the server refused the token in the words of RFC 6749.
func (h *HTTP) askForToken(ctx context.Context, r request, client *http.Client, c *clientcredentials.Config) (*oauth2.Token, answer, error) {
	a := answer{what: r.what, private: true, veil: h.veil}
	bounded, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, client), r.timeout)
	defer cancel()
	var token *oauth2.Token
	var err error
	if h.options.Replay != nil {
		token, err = recordedToken(h.repeat(r, a))
	} else {
		token, err = c.Token(bounded)
	}
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		a.status, a.header, a.body, a.size = refusal.Response.StatusCode, refusal.Response.Header, string(refusal.Body), int64(len(refusal.Body))
		return nil, a, a.ungranted(refusal.ErrorCode)
	}
	if _, told := errors.AsType[*poller.FetchError](err); told { // of a recording
		return nil, a, err
	}
	if _, unsent := errors.AsType[*url.Error](err); unsent || ctx.Err() != nil || bounded.Err() != nil {
		return nil, a, a.broken(ctx, bounded, r, err, "the connection was closed without an answer")
	}
	if err != nil { // it may quote the answer, and the answer may be a token
		return nil, a, failing("%s answered, but the answer is no token as RFC 6749 has it: want JSON with access_token; check token_url", r.what)
	}
	return token, a, nil
}

// recordedToken reads a recorded answer as the library reads one of a server.
func recordedToken(a answer, err error) (*oauth2.Token, error) {
	var body struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
		Code  string `json:"error"`
	}
	if err != nil {
		return nil, err
	}
	_ = json.Unmarshal([]byte(a.body), &body) // what can't be read has no token
	if a.status/100 != 2 || body.Token == "" {
		response := &http.Response{StatusCode: a.status, Header: a.header}
		return nil, &oauth2.RetrieveError{Response: response, Body: []byte(a.body), ErrorCode: body.Code}
	}
	return &oauth2.Token{AccessToken: body.Token, TokenType: body.Type}, nil
}

// refusals are the errors of RFC 6749, 5.2 by which a server says that the client, or what it asks for, is not allowed.
var refusals = []string{"invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "access_denied"}

// ungranted is the error of an OAuth2 server's answer without a token.
func (a answer) ungranted(code string) error {
	_, waits := a.retryAfter()
	switch {
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable && waits:
		return a.is(event.SourceLimited, "the OAuth2 server asks to be asked later")
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden, slices.Contains(refusals, code):
		meaning := "the OAuth2 server does not give the client a token; check client_id, client_secret and scopes"
		if slices.Contains(refusals, code) {
			meaning = fmt.Sprintf("the OAuth2 server says %s; check client_id, client_secret and scopes", code)
		}
		return a.is(event.SourceRefused, meaning)
	case code != "":
		return a.is(event.SourceFailing, fmt.Sprintf("the OAuth2 server says %s", cut(a.veil.text(code), 60)))
	}
	return a.is(event.SourceFailing, "")
}
