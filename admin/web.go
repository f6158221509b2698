package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Web answers monitors over TCP: GET /metrics, /healthz and /readyz. It tells no secret, no event and no name beyond those of
// sources and sinks, and changes nothing.
type Web struct {
	Server  *Server // whose status it tells; with Live
	Metrics *Metrics
	Healthy func(context.Context) error // what keeps the daemon from making progress; it gives up when its context ends
	Listen  string                      // as configured
}

// Limits of the web listener, beside those of the control socket.
const (
	maxConns   = 64 // at once; a further one is closed
	maxScrapes = 4  // at once; a further one is told to come again
)

// ListenTCP listens on a TCP address that the user gave in setting. Its errors say what to do.
func ListenTCP(ctx context.Context, address, setting string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		return l, nil
	}
	why := ""
	dns, isDNS := errors.AsType[*net.DNSError](err)
	_, isAddress := errors.AsType[*net.AddrError](err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = "another program listens there; stop that one, or take another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "this machine has no such address; take 127.0.0.1 for this machine alone, or 0.0.0.0 for every interface"
	case errors.Is(err, syscall.EACCES):
		why = "the system allows this port to root alone; take one from 1024 on"
	case isDNS:
		why = fmt.Sprintf("the name %s has no address", dns.Name)
	case isAddress:
		why = "it takes an address and a port, such as 127.0.0.1:9480"
	default:
		return nil, fmt.Errorf("listen on %s (%s): %w", address, setting, err)
	}
	return nil, fmt.Errorf("can't listen on %s (%s): %s", address, setting, why)
}

// handler answers on a listener at addr.
func (w *Web) handler(addr net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.metrics())
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, r *http.Request) {
		tell(rw, "healthy", askHealth(r.Context(), w.Healthy))
	})
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) { tell(rw, "ready", w.ready()) })
	ours := w.ours(addr)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Server", "tidings/"+w.Server.Version)
		rw.Header().Set("X-Content-Type-Options", "nosniff")
		rw.Header().Set("Cache-Control", "no-store")
		if !ours(r.Host) {
			http.Error(rw, "the name in the request is not this machine's: ask for localhost or an address", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(rw, r)
	})
}

// metrics has a registry of its own: what other code registers globally is not ours to show.
func (w *Web) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newGauges(w.Server), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(w.Metrics.all...)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(w.Server.log().Handler(), slog.LevelWarn), MaxRequestsInFlight: maxScrapes,
	})
}

// ready reports why nothing is taken in, if that is so. An API or a sink that fails does not make the daemon unready: it does its
// work, and metrics tell the rest.
func (w *Web) ready() error {
	stats, err := w.Server.Store.Stats()
	if err != nil {
		return err
	}
	if stats.Full != "" {
		return fmt.Errorf("polling pauses: %s", stats.Full)
	}
	return nil
}

// tell answers with the word, or with why it is not so.
func tell(w http.ResponseWriter, word string, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		word = "not " + word + ": " + oneLine(err)
	}
	_, _ = io.WriteString(w, word+"\n") // the client hung up: nobody is left to tell
}

// ours returns what judges the Host of a request to a listener at addr. On an address of this machine alone the name must be this
// machine's: a page in a browser here can have a name of its own resolve to 127.0.0.1 (DNS rebinding), but no IP address.
func (w *Web) ours(addr net.Addr) func(host string) bool {
	if tcp, ok := addr.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return func(string) bool { return true }
	}
	names := []string{"localhost"}
	if name, err := os.Hostname(); err == nil {
		names = append(names, strings.ToLower(name))
	}
	if name, _, err := net.SplitHostPort(w.Listen); err == nil {
		names = append(names, strings.ToLower(name))
	}
	return func(host string) bool {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
		return slices.Contains(names, host) || net.ParseIP(host) != nil
	}
}

// Serve answers on l until ctx ends, and closes it.
func (w *Web) Serve(ctx context.Context, l net.Listener) error {
	if err := serveHTTP(ctx, l, w.handler(l.Addr()), w.Server.log(), maxConns); err != nil {
		return fmt.Errorf("serving web.listen %s: %w", w.Listen, err)
	}
	return nil
}
