package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

func TestHealthAndReadiness(t *testing.T) {
	m := monitor(t)
	ask := func(path string, status int, text string) {
		t.Helper()
		got, body := m.get(t, path)
		if got != status || string(body) != text+"\n" {
			t.Errorf("%s answers %d %q, want %d %q", path, got, body, status, text)
		}
	}
	ask("/healthz", 200, "healthy")
	ask("/readyz", 200, "ready")

	// An API and a sink that fail are no reason to restart the daemon, or to keep it out of service.
	m.notify(event.PollFailed{Source: "flatpeak", Health: event.SourceRefused, Err: errors.New("401")})
	m.store.sinks[0].State.Health = event.Down
	ask("/healthz", 200, "healthy")
	ask("/readyz", 200, "ready")

	m.store.stats = event.StoreStats{Full: "it uses 2 GiB, more than max_size 1 GiB", Limit: event.LimitSize}
	ask("/healthz", 200, "healthy")
	ask("/readyz", 503, "not ready: polling pauses: it uses 2 GiB, more than max_size 1 GiB")

	m.why = errors.New("source flatpeak makes\nno progress")
	ask("/healthz", 503, "not healthy: source flatpeak makes no progress")

	m.store.err = errors.New("the disk is gone")
	ask("/readyz", 503, "not ready: the disk is gone")
}

func TestWebAnswersNothingElse(t *testing.T) {
	m := monitor(t)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodHead, "/healthz", 200},
		{http.MethodPost, "/metrics", 405},
		{http.MethodDelete, "/healthz", 405},
		{http.MethodGet, "/", 404},
		{http.MethodGet, "/v1/status", 404},
		{http.MethodPost, "/v1/pause", 404},
		{http.MethodGet, "/debug/pprof/", 404},
	} {
		req, err := http.NewRequest(c.method, m.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s %s is %d, want %d", c.method, c.path, resp.StatusCode, c.status)
		}
	}
}

// A page in a browser on this machine can ask under a name of its own that it had resolve to 127.0.0.1.
func TestWebRefusesRebinding(t *testing.T) {
	w := &Web{Listen: "loop.example:9480"}
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	local, public := w.ours(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}), w.ours(&net.TCPAddr{IP: net.IPv4zero})
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:9480": true, "localhost.": true, "127.0.0.1:9480": true, "[::1]:9480": true, "[::1]": true, "192.0.2.7": true,
		own + ":9480": true, "loop.example:9480": true,
		"": false, "evil.example": false, "evil.example:9480": false, "127.0.0.1.evil.example": false, "localhost.evil.example:80": false,
	} {
		if local(host) != want {
			t.Errorf("on this machine's own address %q is taken: %t", host, !want)
		}
		if !public(host) {
			t.Errorf("on every interface %q is refused", host)
		}
	}

	m := monitor(t)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/nothing"} {
		req, err := http.NewRequest(http.MethodGet, m.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "evil.example"
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s answers evil.example with %d", path, resp.StatusCode)
		}
	}
}

func TestListenTCPSaysWhatToDo(t *testing.T) {
	l, err := ListenTCP(t.Context(), "127.0.0.1:0", "web.listen")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{
		l.Addr().String(): fmt.Sprintf("can't listen on %s (web.listen): another program listens there; stop that one, or take another port", l.Addr()),
		"192.0.2.1:9480":  "can't listen on 192.0.2.1:9480 (web.listen): this machine has no such address; take 127.0.0.1 for this machine alone, or 0.0.0.0 for every interface",
	} {
		l, err := ListenTCP(t.Context(), address, "web.listen")
		if err == nil {
			_ = l.Close()
			t.Errorf("%s can be listened on", address)
		} else if err.Error() != want {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
}

// Connections that nobody needs don't pile up, and headers don't either.
func TestWebIsBounded(t *testing.T) {
	m := monitor(t)
	address := strings.TrimPrefix(m.url, "http://")
	ask := func(header string) (net.Conn, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n"); err != nil {
			return conn, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return conn, err
	}
	if _, err := ask("X: " + strings.Repeat("x", 2*maxHeader) + "\r\n"); err == nil {
		t.Error("a long header is taken")
	}
	var kept []net.Conn
	for range maxConns {
		conn, err := ask("")
		if err != nil {
			break // the long header's connection may still count
		}
		kept = append(kept, conn)
	}
	if len(kept) < maxConns-1 {
		t.Errorf("only %d connections are served", len(kept))
	}
	refused := false
	for range 2 {
		_, err := ask("")
		refused = refused || err != nil
	}
	if !refused {
		t.Errorf("more than %d connections are served", maxConns)
	}
	for _, conn := range kept {
		_ = conn.Close()
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := ask(""); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no connection is served after the others have gone")
		}
	}
}

// What hangs is cut off at the end, and Serve returns.
func TestWebEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan struct{})
	w := &Web{Server: &Server{Store: &fakeStore{}}, Metrics: NewMetrics(event.Topology{}), Healthy: func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}}
	l, err := ListenTCP(ctx, "127.0.0.1:0", "web.listen")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, l) }()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if resp, err := http.Get("http://" + l.Addr().String() + "/healthz"); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	<-asked
}
