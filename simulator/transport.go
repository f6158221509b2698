package simulator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Transport serves requests by h in memory, on the goroutine that makes them: for tests in fake time. What h holds back ends with the
// request's context, and an answer that is shorter than its Content-Length breaks off as it would on a connection.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ h http.Handler }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	r := req.Clone(ctx)
	r.RequestURI = req.URL.RequestURI()
	r.RemoteAddr = "192.0.2.1:1234" // TEST-NET-1 (RFC 5737)
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &answer{header: http.Header{}}
	t.h.ServeHTTP(w, r)
	if err := r.Body.Close(); err != nil {
		return nil, fmt.Errorf("close the request's body: %w", err)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	w.WriteHeader(http.StatusOK)
	resp := &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.sent, Request: req,
		ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body),
	}
	if length, err := strconv.Atoi(w.sent.Get("Content-Length")); err == nil && length > w.body.Len() {
		resp.ContentLength = int64(length)
		resp.Body = io.NopCloser(io.MultiReader(&w.body, broken{}))
	}
	return resp, nil
}

// answer is a ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int         // 0: not yet written
	sent   http.Header // the header as it was then
	body   bytes.Buffer
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *answer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// broken is the end of a body that came too soon.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
