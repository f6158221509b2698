package sources

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tidings/recipe"
)

const (
	maxRedirects = 5
	maxErrorBody = 64 << 10 // of an answer that is an error; more is not read
)

// request is one request to the API's origin.
type request struct {
	method  string
	url     *url.URL
	header  http.Header
	what    string // method and URL in a text that may be shown
	token   string // from the login
	timeout time.Duration
	max     int64  // bytes of the answer
	private bool   // an answer of success holds a secret, and is never quoted
	placed  bool   // it names a place in the list
	further bool   // it is for a page of a window that is counted, beyond the first
	body    string // JSON; empty: none

	conditional bool // it has a validator

	key, loose string // of its Exchange; empty: what
	instead    string // private: what its Exchange has for the body of a success
}

// one is the request for one event.
func (h *HTTP) one(id string) (request, error) {
	if h.recipe.FetchOne == "" {
		return request{}, errors.New("this API has no way to ask for one event")
	}
	if id == "" || id == "." || id == ".." { // a server would take these for steps in its path
		return request{}, fmt.Errorf("the id %q can't be asked for by itself", id)
	}
	u, err := h.expandURL("fetch_one", h.recipe.FetchOne, func(name string) (string, bool) {
		if name == "id" {
			return id, true
		}
		return h.lookup(name)
	})
	if err != nil {
		return request{}, err
	}
	return request{method: http.MethodGet, url: u, header: h.header, what: "GET " + h.shown(u)}, nil
}

// shown is a URL without its query, its password, and any value in its path.
func (h *HTTP) shown(u *url.URL) string {
	return u.Scheme + "://" + u.Host + cut(h.veil.text(u.EscapedPath()), 200)
}

// ask makes one request and reads its answer, whatever its status. An answer of success is whole, or over.
func (h *HTTP) ask(ctx context.Context, r request) (answer, error) {
	a := answer{
		what: r.what, private: r.private, placed: r.placed, further: r.further, checked: r.conditional, limits: h.recipe.Limits, veil: h.veil.with(r.token),
	}
	if h.options.Replay == nil { // a recording need not be spared
		if err := h.turn(ctx, r.what); err != nil {
			return a, err
		}
	}
	begun := time.Now()
	a, err := h.exchange(ctx, r, a)
	h.trace(r, a, time.Since(begun), err)
	return a, err
}

func (h *HTTP) exchange(ctx context.Context, r request, a answer) (answer, error) {
	if h.options.Replay != nil {
		return h.repeat(r, a)
	}
	bounded, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, r.method, r.url.String(), strings.NewReader(r.body))
	if err != nil {
		return a, failing("%s can't be sent: %s", r.what, a.veil.text(err.Error()))
	}
	req.Header = r.header.Clone()
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return a, a.broken(ctx, bounded, r, err, "the connection was closed without an answer")
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	if date := a.date(); !date.IsZero() {
		h.date.Store(date.Unix())
	}
	ok := a.status/100 == 2
	limit := r.max
	if !ok {
		limit = min(limit, maxErrorBody)
	}
	if ok && resp.ContentLength > limit {
		a.over, a.size = true, resp.ContentLength
		return a, nil
	}
	body, n, err := readBody(resp.Body, resp.ContentLength, limit)
	a.size = n
	switch {
	case n > limit && ok:
		a.over = true
		return a, nil
	case err != nil && (ok || ctx.Err() != nil): // a status of failure speaks for itself, however little follows it
		a.body = body
		return a, a.broken(ctx, bounded, r, err, fmt.Sprintf("the answer (%d %s) broke off after %d bytes%s", a.status,
			http.StatusText(a.status), n, a.quote("it begins")))
	}
	a.body = body
	return a, nil
}

// readBody reads up to limit bytes, and one more to see whether there are any. length is what was announced, -1 for nothing. A body
// of unknown length is kept in pieces until its end: one that has none costs no more memory than the limit.
func readBody(from io.Reader, length, limit int64) (body string, n int64, err error) {
	from = io.LimitReader(from, limit+1)
	var whole strings.Builder
	if length >= 0 {
		whole.Grow(int(min(length, limit+1)))
		n, err = io.Copy(&whole, from)
		return whole.String(), n, err
	}
	var pieces [][]byte
	for size := int64(64 << 10); err == nil && n <= limit; size = min(2*size, 4<<20) {
		piece, filled := make([]byte, min(size, limit+1-n)), 0
		for err == nil && filled < len(piece) {
			var got int
			got, err = from.Read(piece[filled:])
			filled += got
		}
		pieces, n = append(pieces, piece[:filled]), n+int64(filled)
	}
	if err == io.EOF {
		err = nil
	}
	if n > limit {
		return "", n, err
	}
	whole.Grow(int(n))
	for _, piece := range pieces {
		whole.Write(piece)
	}
	return whole.String(), n, err
}

// broken is the error of a request without a whole answer; cutOff says what an end before its time means.
func (a answer) broken(ctx, bounded context.Context, r request, err error, cutOff string) error {
	if ctx.Err() != nil {
		return failing("%s was given up: %w", r.what, ctx.Err())
	}
	if bounded.Err() != nil {
		return failing("%s: there was no whole answer within %s", r.what, r.timeout)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return failing("%s: %s", r.what, cutOff)
	}
	if u, ok := errors.AsType[*url.Error](err); ok { // it quotes the URL, query and all
		err = u.Err
	}
	return failing("%s: %s", r.what, a.veil.text(explain(err)))
}

// checkRedirect follows a redirect within the origin only: every request carries credentials.
func (h *HTTP) checkRedirect(req *http.Request, via []*http.Request) error {
	return within(h.origin, req, via)
}

func within(origin string, req *http.Request, via []*http.Request) error {
	if recipe.Origin(req.URL) != origin {
		return fmt.Errorf("it redirects to another origin, %s://%s, which is not followed, as credentials go to one origin only; "+
			"if the API has moved, give its new address", req.URL.Scheme, req.URL.Host)
	}
	if req.Method != via[0].Method {
		return errors.New("it redirects to a page, where the request asks for something to be done")
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	}
	return nil
}

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}
