package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	localHost   = "tidings" // the Host that a client sends
	readWithin  = 30 * time.Second
	maxResponse = 256 << 20 // of one answer; a page ends soon after deadBytes, but one body may be large
)

// Client asks a Server, over a socket or in memory. A request that the server refused is an *Error.
type Client struct {
	http  *http.Client
	where string // for errors
}

// Dial makes a client of the daemon whose control socket is path. It connects when it is first asked; see Ping.
func Dial(path string) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return connect(ctx, path)
	}}
	return &Client{http: &http.Client{Transport: transport}, where: "the daemon at " + path}
}

// Local makes a client that asks h without a socket.
func Local(h http.Handler) *Client {
	return &Client{http: &http.Client{Transport: local{h}}, where: "the store"}
}

// Ping asks whether a daemon answers. ErrNoDaemon: nobody listens on its socket.
func (c *Client) Ping(ctx context.Context) error {
	_, err := get[struct{}](ctx, c, "/v1/ping")
	return err
}

// Close closes the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks how everything does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Check asks for the status in one word and one line.
func (c *Client) Check(ctx context.Context) (Check, error) { return get[Check](ctx, c, "/v1/check") }

// Places tells where each source stands.
func (c *Client) Places(ctx context.Context) (map[string]Place, error) {
	return get[map[string]Place](ctx, c, "/v1/places")
}

// Position tells where a source stands.
func (c *Client) Position(ctx context.Context, source string) (Position, error) {
	return get[Position](ctx, c, "/v1/position?source="+url.QueryEscape(source))
}

// Known reports for each id whether it is remembered.
func (c *Client) Known(ctx context.Context, source string, ids []string) ([]bool, error) {
	all := make([]bool, 0, len(ids))
	for len(ids) > 0 {
		n, size, req := 0, 0, knownRequest{Source: source}
		for n < len(ids) && (n == 0 || size+len(ids[n]) < maxBody/2) { // in base64 it is a third more
			req.IDs = append(req.IDs, []byte(ids[n]))
			size += len(ids[n]) + 4
			n++
		}
		part, err := post[[]bool](ctx, c, "/v1/known", req)
		if err != nil {
			return nil, err
		}
		if len(part) != n {
			return nil, fmt.Errorf("%s did not answer for each id: is it another version?", c.where)
		}
		all, ids = append(all, part...), ids[n:]
	}
	return all, nil
}

// Dead lists dead letters: of one sink or of all (""), of one event id or of any (""), with details or without. It ends at the
// first error.
func (c *Client) Dead(ctx context.Context, sink, id string, detail bool) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		q := url.Values{}
		if sink != "" {
			q.Set("sink", sink)
		}
		if id != "" {
			q.Set("id", id)
		}
		if detail {
			q.Set("detail", "true")
		}
		for {
			page, err := get[DeadPage](ctx, c, "/v1/dead?"+q.Encode())
			if err != nil {
				yield(DeadLetter{}, err)
				return
			}
			for _, letter := range page.Letters {
				if !yield(letter, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("after", page.Next)
		}
	}
}

// RetryDead sends dead letters again.
func (c *Client) RetryDead(ctx context.Context, sel DeadSelection) (DeadChange, error) {
	return post[DeadChange](ctx, c, "/v1/dead/retry", sel)
}

// DropDead forgets dead letters.
func (c *Client) DropDead(ctx context.Context, sel DeadSelection) (DeadChange, error) {
	return post[DeadChange](ctx, c, "/v1/dead/drop", sel)
}

// Pause pauses a sink, or resumes it.
func (c *Client) Pause(ctx context.Context, req PauseRequest, pause bool) (PauseChange, error) {
	path := "/v1/resume"
	if pause {
		path = "/v1/pause"
	}
	return post[PauseChange](ctx, c, path, req)
}

func get[T any](ctx context.Context, c *Client, path string) (answer T, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readWithin, fmt.Errorf("no answer within %s", readWithin))
	defer cancel()
	err = c.do(ctx, http.MethodGet, path, nil, &answer)
	return answer, err
}

// post has no time limit: a change takes the time that it takes.
func post[T any](ctx context.Context, c *Client, path string, req any) (answer T, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return answer, err
	}
	err = c.do(ctx, http.MethodPost, path, body, &answer)
	return answer, err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+localHost+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.failed(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return c.failed(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp.Status, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s gave an answer that can't be read: is it another version? (%w)", c.where, err)
	}
	return nil
}

// refused is the error that an answer holds.
func (c *Client) refused(status string, text []byte) error {
	var refused struct{ Error *Error }
	if json.Unmarshal(text, &refused) == nil && refused.Error != nil {
		return refused.Error
	}
	return fmt.Errorf("%s answered %s: is it another program, or another version?", c.where, status)
}

// failed says what went wrong on the way, without the URL that nobody asked for.
func (c *Client) failed(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it hung up in the middle of the answer; look at its log")
	}
	return fmt.Errorf("asking %s: %w", c.where, err)
}

// local is a RoundTripper that runs a handler. The answer is read while the handler writes it, however large it is.
type local struct{ handler http.Handler }

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	body, pipe := io.Pipe()
	rec := &recorder{header: http.Header{}, status: http.StatusOK, body: pipe, begun: make(chan struct{})}
	ended := make(chan struct{})
	asked := r.Clone(r.Context())
	asked.Host = r.URL.Host
	go func() {
		defer close(ended)
		defer func() {
			rec.begin()
			if p := recover(); p == nil {
				_ = pipe.Close()
			} else if p == http.ErrAbortHandler {
				_ = pipe.CloseWithError(io.ErrUnexpectedEOF)
			} else {
				panic(p)
			}
		}()
		l.handler.ServeHTTP(rec, asked)
	}()
	<-rec.begun
	answer := &localBody{body, ended}
	if err := r.Context().Err(); err != nil {
		return nil, errors.Join(err, answer.Close())
	}
	return &http.Response{
		StatusCode: rec.status, Status: fmt.Sprintf("%d %s", rec.status, http.StatusText(rec.status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rec.header, Body: answer, ContentLength: -1, Request: r,
	}, nil
}

// localBody waits for the handler at its end.
type localBody struct {
	*io.PipeReader
	ended chan struct{}
}

func (b *localBody) Close() error {
	err := b.PipeReader.Close()
	<-b.ended
	return err
}

// recorder is a ResponseWriter whose body is a pipe.
type recorder struct {
	header http.Header
	status int
	body   *io.PipeWriter
	begun  chan struct{}
	once   sync.Once
}

func (r *recorder) begin()              { r.once.Do(func() { close(r.begun) }) }
func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.begin()
}

func (r *recorder) Write(p []byte) (int, error) {
	r.begin()
	return r.body.Write(p)
}
