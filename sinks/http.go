package sinks

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"tidings/dispatch"
	"tidings/event"
)

const (
	drainLimit = 256 << 10       // of an answer's body, read so that the connection can be used again
	drainTime  = 2 * time.Second // for that, once the status is known
	longest    = 24 * time.Hour  // of a Retry-After
	// To connect, and to agree on TLS. The transport goes on with both when the attempt's time is up.
	dialTime = 15 * time.Second
	// For which a connection is kept for the next event. Servers close one that is silent for some seconds; an event sent at that
	// moment would seem to fail.
	idleTime = time.Second
	pingTime = 15 * time.Second // a connection of HTTP/2 that is silent that long must answer a ping, and then in that time
)

// HTTPOptions describe an HTTP endpoint.
type HTTPOptions struct {
	URL               string                  // http://, https:// or unix:SOCKET:PATH, such as unix:/run/app.sock:/webhooks
	Shown             string                  // how people see URL; default: without user, password and query
	Hide              []event.Secret          // what must not show of URL, besides its password, path (with Shown) and query
	Headers           map[string]event.Secret // sent with every request, beside those that are the sink's own
	Secrets           []event.Secret          // "whsec_" and base64 of 24 to 64 bytes: each signs, so that one can be exchanged for another
	PermanentStatuses []int                   // answers that make a dead letter at once
	Format            Format
	Concurrency       int    // requests at once: as many connections are kept
	Version           string // of Tidings, for User-Agent
}

// HTTP posts events to an endpoint, as Standard Webhooks says
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md). Any 2xx is a success, whatever
// becomes of the answer's body; redirects are failures.
type HTTP struct {
	o       HTTPOptions
	url     string // of requests
	shown   string // for people: without user, password and query
	keys    [][]byte
	secrets []event.Secret // what an answer must not show
	client  *http.Client
}

// NewHTTP checks the options. It connects to nothing.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	h := &HTTP{o: o, secrets: slices.Clone(o.Hide)}
	if err := o.Format.check(); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSHandshakeTimeout:    dialTime,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingTime, PingTimeout: pingTime},
		MaxIdleConnsPerHost:    max(1, o.Concurrency),
		IdleConnTimeout:        idleTime,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if err := h.target(transport); err != nil {
		return nil, err
	}
	for name, value := range o.Headers {
		if err := checkHeader(name, value.Reveal()); err != nil {
			return nil, err
		}
		h.hide(value.Reveal())
		if _, credentials, found := strings.Cut(value.Reveal(), " "); found { // of an Authorization
			h.hide(credentials)
		}
	}
	for _, secret := range o.Secrets {
		key, err := signingKey(secret)
		if err != nil {
			return nil, err
		}
		h.keys = append(h.keys, key)
		h.hide(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	}
	longestFirst(h.secrets)
	h.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h, nil
}

// target reads the URL.
func (h *HTTP) target(transport *http.Transport) error {
	if rest, found := strings.CutPrefix(h.o.URL, "unix:"); found {
		socket, _, whole := strings.Cut(rest, ":/")
		path := strings.TrimPrefix(rest[len(socket):], ":")
		u, err := url.Parse("http://localhost" + path)
		if !strings.HasPrefix(socket, "/") || !whole && strings.Contains(socket, ":") || err != nil || u.Host != "localhost" {
			return errors.New("the url names no socket: write unix:/run/app.sock:/path")
		}
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "unix", socket)
		}
		h.hideQuery(u.RawQuery)
		h.shown = "unix:" + socket + ":" + u.EscapedPath()
		h.url = u.String()
		h.show(u.Path)
		return nil
	}
	u, err := url.Parse(h.o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("the url is not one: write http://HOST:PORT/PATH, https://… or unix:/run/app.sock:/path")
	}
	if u.User != nil {
		user := u.User.Username()
		password, _ := u.User.Password()
		h.hide(cmp.Or(password, user))                                           // a user without a password is a token
		h.hide(base64.StdEncoding.EncodeToString([]byte(user + ":" + password))) // as they are sent
	}
	h.hideQuery(u.RawQuery)
	h.url = u.String()
	h.shown = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	h.show(u.Path)
	return nil
}

// show puts in place how people see the URL. Its path then holds what they must not see, even where an answer quotes it.
func (h *HTTP) show(path string) {
	if h.o.Shown != "" {
		h.shown = h.o.Shown
		h.hide(path)
	}
}

func (h *HTTP) hide(text string) { h.secrets = append(h.secrets, event.NewSecret(text)) }

// hideQuery hides the values of a query, as they are written and as they are meant, and what has no value.
func (h *HTTP) hideQuery(query string) {
	for part := range strings.SplitSeq(query, "&") {
		name, value, found := strings.Cut(part, "=")
		if !found {
			value = name
		}
		h.hide(value)
		if meant, err := url.QueryUnescape(value); err == nil {
			h.hide(meant)
		}
	}
}

// Close closes connections that are kept for later requests.
func (h *HTTP) Close() { h.client.CloseIdleConnections() }

// Deliver posts each event of the batch.
func (h *HTTP) Deliver(ctx context.Context, batch []event.Delivery) []dispatch.Result {
	results := make([]dispatch.Result, len(batch))
	for i, d := range batch {
		results[i] = h.post(ctx, d)
	}
	return results
}

func (h *HTTP) post(ctx context.Context, d event.Delivery) dispatch.Result {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := h.o.Format.body(d.Event)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return dispatch.Result{Verdict: dispatch.SinkDown, Reason: fmt.Sprintf("No request can be made to %s", h.shown)}
	}
	h.header(req, d, body)
	resp, err := h.client.Do(req)
	if err != nil {
		return dispatch.Result{
			Verdict: dispatch.Retry,
			Reason:  fmt.Sprintf("POST %s: %s", h.shown, oneLine(event.Redact(transportTrouble(err, time.Since(began)), h.secrets...))),
		}
	}
	defer resp.Body.Close()
	defer time.AfterFunc(drainTime, cancel).Stop()
	said := &answer{secrets: h.secrets}
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is the connection, which nothing cuts off
		_, _ = io.Copy(said, io.LimitReader(resp.Body, drainLimit)) // the status alone decides
	}
	return h.judge(resp, said.String())
}

// judge gives an answer its meaning. It is the one place that does.
func (h *HTTP) judge(resp *http.Response, said string) dispatch.Result {
	status := resp.StatusCode
	r := dispatch.Result{
		Verdict: dispatch.Retry,
		Reason:  strings.TrimSpace(fmt.Sprintf("POST %s answered %d %s", h.shown, status, http.StatusText(status))),
		Answer:  said,
	}
	switch after := retryAfter(resp.Header); {
	case status >= 200 && status <= 299:
		r.Verdict, r.Reason = dispatch.Done, ""
	case status == http.StatusGone:
		r.Verdict = dispatch.SinkPause
	case slices.Contains(h.o.PermanentStatuses, status):
		r.Verdict = dispatch.Permanent
	case status >= 300 && status <= 399:
		r.Reason += "; redirects are not followed: configure the final URL"
		r.Wait = after
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		r.RetryAfter = after
	default:
		r.Wait = after
	}
	return r
}

// transportTrouble says why there was no answer.
func transportTrouble(err error, took time.Duration) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, whose query may hold secrets
	}
	took = took.Round(time.Millisecond)
	text := strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused; is the receiver running?"
	case errors.Is(err, syscall.ENOENT):
		return "there is no such socket; is the receiver running?"
	case errors.Is(err, syscall.EACCES):
		return "permission denied; the user that tidings runs as must be able to write to the socket"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("cut off after %v", took)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer within %v", took)
	case noTLS, errors.Is(err, http.ErrSchemeMismatch):
		return "what listens there does not speak TLS; is http:// meant?"
	case strings.HasPrefix(text, "malformed HTTP"): // net/http has no name for it
		return text + "; is it a web server that listens there?"
	case strings.HasPrefix(text, "readLoopPeekFailLocked"): // nor for this
		return "what listens there speaks unasked; is it a web server that listens there?"
	}
	return text
}
