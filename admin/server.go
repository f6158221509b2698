// Package admin shows a person, a monitor and the system what Tidings does, and does what they ask for: the control socket
// and its client, log lines made from notices, and what systemd is told. It owns no state that outlives the process.
//
// The control socket speaks HTTP and JSON. The same handlers answer beside a running daemon (Dial) and on the store of a
// stopped one (Local), so a command has one code for both. Paths carry a version; within it keys are only added.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidings/event"
)

// Store is what this package needs of the store.
type Store interface {
	Sources() ([]event.SourceStats, error)
	Sinks() ([]event.SinkStats, error)
	// Position returns where a source stands; one that was never polled has no Data.
	Position(source string) (event.Position, error)
	// Known reports for each id whether it is remembered.
	Known(source string, ids []string) ([]bool, error)
	Stats() (event.StoreStats, error)
	// Dead lists dead letters, bodies included.
	Dead(q event.DeadQuery) ([]event.DeadLetter, error)
	// RetryDead makes dead letters of a sink owed again, with a new age and the old attempt count, and returns how many.
	RetryDead(ctx context.Context, sink string, seqs []uint64) (int, error)
	// DropDead forgets dead letters of a sink and returns how many.
	DropDead(ctx context.Context, sink string, seqs []uint64) (int, error)
	// SetState changes how a sink does and wakes its worker; event.ErrStale when its health is not what it was.
	SetState(ctx context.Context, sink string, was event.Health, state event.SinkState) error
	// Backup writes the store as it stands at one moment to w; start is told first how many bytes come.
	Backup(ctx context.Context, w io.Writer, start func(size int64) error) error
	// Compact gives free space of the file back; who writes waits for it.
	Compact(ctx context.Context) (event.Compacted, error)
}

// Server answers on the control socket.
type Server struct {
	Store   Store
	Live    *Live  // nil where no daemon runs: a command on the store of a stopped one
	Version string // of the program

	Position func(position []byte) Standing // reads a stored position; nil: nothing is told of any
	Log      *slog.Logger                   // told what people changed; nil tells nobody
}

// Limits of the control socket. Its users may open the store anyway; the limits keep a mistake small.
const (
	maxHeader    = 64 << 10
	maxBody      = 4 << 20
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second // of an answer; a bulk change takes the time that it takes
	idleTimeout  = time.Minute
	grace        = 3 * time.Second // for requests in flight at the end
)

// Kind says what sort of error a request met.
type Kind string

const (
	NotFound Kind = "not_found" // there is no such thing
	Invalid  Kind = "invalid"   // the request itself is wrong
	Failed   Kind = "failed"    // it was right and did not work
)

// Error is how a request failed: one sentence and its kind. It travels from the server to the client.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

func errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Handler answers GET /v1/ping, /v1/status, /v1/check, /v1/places, /v1/position, /v1/dead and /v1/store/backup, POST /v1/known (which
// changes nothing), /v1/dead/retry, /v1/dead/drop, /v1/pause, /v1/resume and /v1/store/compact. Whatever a
// browser sends is refused: the socket may be forwarded to a port of somebody's desktop, and no page there shall speak to it.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := h(w, r)
			s.answer(w, answer, err)
		})
	}
	get := func(pattern string, h func(*http.Request) (any, error)) {
		handle("GET "+pattern, func(_ http.ResponseWriter, r *http.Request) (any, error) { return h(r) })
	}
	get("/v1/ping", func(*http.Request) (any, error) { return struct{}{}, nil })
	get("/v1/status", func(*http.Request) (any, error) { return s.Status() })
	get("/v1/check", func(*http.Request) (any, error) { return s.check() })
	get("/v1/dead", s.listDead)
	get("/v1/places", func(*http.Request) (any, error) { return s.places() })
	get("/v1/position", s.position)
	handle("POST /v1/known", s.known)
	handle("POST /v1/pause", s.pause(true))
	handle("POST /v1/resume", s.pause(false))
	handle("POST /v1/dead/retry", s.changesDead("sent again", s.Store.RetryDead))
	handle("POST /v1/dead/drop", s.changesDead("dropped", s.Store.DropDead))
	handle("POST /v1/store/compact", s.compact)
	mux.HandleFunc("GET /v1/store/backup", s.backup)
	handle("/", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return nil, errorf(NotFound, "tidings %s does not know %s %s on its control socket", s.Version, r.Method, r.URL.Path)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := refuseBrowser(r); err != nil {
			s.answer(w, nil, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// read reads a request's body, strictly; what names what it should be: "a selection of dead letters".
func read(w http.ResponseWriter, r *http.Request, to any, what string) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(to)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errorf(Invalid, "the request is longer than %d MiB: name fewer", maxBody>>20)
	}
	if err != nil {
		return errorf(Invalid, "the request is not %s: %s", what, oneLine(err))
	}
	return nil
}

// refuseBrowser refuses what only a browser sends, and host names that are not of this machine: after DNS rebinding a page
// sends neither Origin nor Sec-Fetch-Site with a GET.
func refuseBrowser(r *http.Request) error {
	for _, name := range []string{"Origin", "Referer", "Sec-Fetch-Site"} {
		if r.Header.Get(name) != "" {
			return errorf(Invalid, "the control socket answers no browser: the request has the header %s", name)
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	if host != localHost && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errorf(Invalid, "the control socket answers for localhost, not for %q", r.Host)
	}
	return nil
}

func (s *Server) answer(w http.ResponseWriter, answer any, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Server", "tidings/"+s.Version)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			e = errorf(Failed, "%s", oneLine(err))
		}
		status := map[Kind]int{NotFound: http.StatusNotFound, Invalid: http.StatusBadRequest}[e.Kind]
		if status == 0 {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
		answer = map[string]*Error{"error": e}
	}
	_ = enc.Encode(answer) // the client hung up: nobody is left to tell
}

// Serve answers on l until ctx ends, lets requests in flight end for a moment, closes l and returns. No handler runs
// after it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := serveHTTP(ctx, l, s.Handler(), s.log(), 0); err != nil {
		return fmt.Errorf("serving the control socket: %w", err)
	}
	return nil
}

// serveHTTP answers on l until ctx ends. It closes a connection beyond limit at once; 0: none is.
func serveHTTP(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger, limit int64) error {
	var conns sync.WaitGroup
	var open atomic.Int64
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// A connection is new before its goroutine starts and closed when that ends.
		ConnState: func(conn net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
				if n := open.Add(1); limit > 0 && n > limit {
					_ = conn.Close() // its goroutine ends at the first reading
				}
			case http.StateClosed:
				open.Add(-1)
				conns.Done()
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		_ = server.Close()
		conns.Wait()
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if server.Shutdown(ending) != nil {
		_ = server.Close() // cancels the requests' contexts
	}
	<-served
	conns.Wait()
	return nil
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// oneLine is an error's text on one line; empty for nil.
func oneLine(err error) string {
	if err == nil {
		return ""
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
