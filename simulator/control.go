package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	controlPrefix = "/_simulator/"
	maxAdd        = 100_000 // events in one request
	maxFaultText  = 64 << 10
)

// newControl makes the endpoints for scripts and people. They never suffer faults.
func (a *account) newControl() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_simulator/events", func(w http.ResponseWriter, _ *http.Request) { writeLines(w, a.Events()) })
	mux.HandleFunc("POST /_simulator/events", a.postEvents)
	mux.HandleFunc("GET /_simulator/facts", func(w http.ResponseWriter, _ *http.Request) { writeLines(w, a.Facts()) })
	mux.HandleFunc("GET /_simulator/stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.Stats())
	})
	mux.HandleFunc("GET /_simulator/faults", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, a.Faults())
	})
	mux.HandleFunc("POST /_simulator/faults", a.postFaults)
	return mux
}

// postEvents adds n events (default 1), late by so much, of one type or of random ones, and answers with them.
func (a *account) postEvents(w http.ResponseWriter, r *http.Request) {
	n, late := 1, time.Duration(0)
	var err error
	if text := r.URL.Query().Get("n"); text != "" {
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > maxAdd {
			http.Error(w, fmt.Sprintf("n=%s: give a number of events from 1 to %d", text, maxAdd), http.StatusBadRequest)
			return
		}
	}
	if text := r.URL.Query().Get("late"); text != "" {
		if late, err = time.ParseDuration(text); err != nil || late < 0 {
			http.Error(w, fmt.Sprintf("late=%s: give a duration, such as 30s or 2m", text), http.StatusBadRequest)
			return
		}
	}
	types := make([]string, n)
	for i := range types {
		types[i] = r.URL.Query().Get("type")
	}
	writeLines(w, a.AddAt(a.now().Add(-late), types...))
}

// postFaults replaces the faults by those in the body; an empty one clears them.
func (a *account) postFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultText))
	if err != nil {
		http.Error(w, "the faults can't be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	faults, err := ParseFaults(strings.TrimSpace(string(body)))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.SetFaults(faults)
	_, _ = fmt.Fprintln(w, a.Faults())
}
