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

// grant asks for a token. The library reads no more than 1 MiB of the answer.
func (h *HTTP) grant(ctx context.Context, what string, client *http.Client, c *clientcredentials.Config) (string, time.Duration, error) {
	bounded, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, client), h.options.LoginTimeout)
	defer cancel()
	a := answer{what: what, private: true, veil: h.veil}
	asked := time.Now()
	token, err := h.grantedToken(bounded, what, c, asked)
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		a.status, a.header, a.body = refusal.Response.StatusCode, refusal.Response.Header, string(refusal.Body)
		return "", 0, a.ungranted(refusal.ErrorCode)
	}
	if _, unsent := errors.AsType[*url.Error](err); unsent || ctx.Err() != nil || bounded.Err() != nil {
		r := request{what: what, timeout: h.options.LoginTimeout}
		return "", 0, a.broken(ctx, bounded, r, err, "the connection was closed without an answer")
	}
	if _, told := errors.AsType[*poller.FetchError](err); told { // of a recording
		return "", 0, err
	}
	if err != nil { // it may quote the answer, and the answer may be a token
		return "", 0, failing("%s answered, but the answer is no token as RFC 6749 has it: want JSON with access_token; check token_url", what)
	}
	if kind := token.Type(); !strings.EqualFold(kind, "bearer") {
		return "", 0, failing("%s gave a token of the type %q, and only bearer tokens can be used", what, cut(h.veil.text(kind), 40))
	}
	if hasControl(token.AccessToken) {
		return "", 0, failing("%s gave a token with a line break or another control character, which no header can take", what)
	}
	life := time.Duration(0)
	if !token.Expiry.IsZero() {
		life = max(token.Expiry.Sub(asked), 0)
	}
	return token.AccessToken, life, nil
}

// grantedToken asks for a token, and tells so.
func (h *HTTP) grantedToken(ctx context.Context, what string, c *clientcredentials.Config, begun time.Time) (*oauth2.Token, error) {
	r := request{what: what, private: true, instead: `{"access_token":"` + hidden + `-token","token_type":"Bearer"}`}
	if h.options.Replay != nil {
		a, err := h.repeat(r, answer{what: what})
		h.trace(r, a, 0, err)
		return recordedToken(a, err)
	}
	token, err := c.Token(ctx)
	a, sentence := answer{status: http.StatusOK}, error(nil)
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		a.status, a.header, a.body, a.size = refusal.Response.StatusCode, refusal.Response.Header, string(refusal.Body), int64(len(refusal.Body))
	} else if err != nil { // it may quote the answer, and the answer may be a token
		a.status, sentence = 0, errors.New(what+" gave no token that can be used")
	}
	h.trace(r, a, time.Since(begun), sentence)
	return token, err
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
