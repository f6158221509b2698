package sinks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidings/dispatch"
)

func TestHTTPWithoutAnAnswer(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	closing, _ := receiver(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	release := make(chan struct{})
	defer close(release)
	slow, _ := receiver(t, func(http.ResponseWriter, *http.Request) { <-release })
	for name, c := range map[string]struct{ url, reason string }{
		"refused":   {"http://" + free.Addr().String() + "/?token=qu3ry", "connection refused; is the receiver running?"},
		"no socket": {"unix:" + filepath.Join(t.TempDir(), "none.sock") + ":/", "there is no such socket; is the receiver running?"},
		"no TLS":    {strings.Replace(closing, "http:", "https:", 1), "what listens there does not speak TLS; is http:// meant?"},
		"no HTTP":   {"http://" + greets(t, "SSH-2.0-x\r\n"), "; is it a web server that listens there?"},
		"closed":    {closing, "the connection was closed without an answer"},
		"slow":      {slow + "/?token=qu3ry", "no answer within "},
	} {
		t.Run(name, func(t *testing.T) {
			limit := time.Minute
			if name == "slow" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			r := want(t, newHTTP(t, HTTPOptions{URL: c.url}).Deliver(ctx, owed(sample("1", "{}"))), dispatch.Retry)
			if !strings.Contains(r.Reason, c.reason) || strings.Contains(r.Reason, "qu3ry") {
				t.Errorf("reason %s", r.Reason)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(dispatch.ErrStopping) })
	want(t, newHTTP(t, HTTPOptions{URL: slow}).Deliver(ctx, owed(sample("1", "{}"))), dispatch.Retry)
	if !errors.Is(context.Cause(ctx), dispatch.ErrStopping) {
		t.Error("the request outlived the shutdown")
	}
}

func TestHTTPAnswerWithoutEnd(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		},
		"silent": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"another protocol": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(101)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := receiver(t, h)
			began := time.Now()
			verdict := dispatch.Done
			if name == "another protocol" {
				verdict = dispatch.Retry
			}
			want(t, newHTTP(t, HTTPOptions{URL: url}).Deliver(t.Context(), owed(sample("1", "{}"))), verdict)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestHTTPKeepsItsConnections(t *testing.T) {
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(5 * time.Millisecond)
		w.WriteHeader(500)
		_, _ = w.Write(make([]byte, 64<<10))
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	h := newHTTP(t, HTTPOptions{URL: srv.URL, Concurrency: 8})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				want(t, h.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
			}
		})
	}
	wg.Wait()
	n := conns.Load()
	if n > 12 {
		t.Errorf("%d connections for 8 at once", n)
	}
	time.Sleep(2 * idleTime)
	want(t, h.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if conns.Load() != n+1 {
		t.Error("a connection that the server may be about to close was used again")
	}
}

// greets listens for connections, says the same to each and closes it.
func greets(t *testing.T, text string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { ln.Close() })
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				_, _ = io.WriteString(conn, text)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			})
		}
	})
	return ln.Addr().String()
}
