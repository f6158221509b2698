package sources

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

func TestWhatAnswersMean(t *testing.T) {
	const served = "Wed, 21 Oct 2026 07:28:00 GMT"
	rules := []recipe.ErrorRule{
		{Status: 422, Path: "code", Equals: "account_disabled", Means: recipe.Refused},
		{Status: 400, Path: "error.code", Equals: "17", Means: recipe.Lost},
		{Status: 403, Path: "rate", Means: recipe.Limited},
		{Status: 410, Means: recipe.Lost},
		{Status: 200, Path: "errors", Means: recipe.Refused},
	}
	for _, test := range []struct {
		status     int
		retryAfter string
		body       string
		health     event.SourceHealth
		after      time.Duration
		lost       bool
		want       string
	}{
		{401, "", "", event.SourceRefused, 0, false, "answered 401 Unauthorized"},
		{403, "", `{"rate":null}`, event.SourceRefused, 0, false, "answered 403 Forbidden"},
		{403, "", `{"rate":false}`, event.SourceRefused, 0, false, "answered 403 Forbidden"},
		{403, "60", `{"rate":"exceeded"}`, event.SourceLimited, time.Minute, false, "in 1m"},
		{422, "", `{"code":"account_disabled"}`, event.SourceRefused, 0, false, "refuses the account"},
		{422, "", `{"code":"other"}`, event.SourceFailing, 0, false, "answered 422"},
		{422, "", `code=account_disabled`, event.SourceFailing, 0, false, "answered 422"},
		{400, "", `{"error":{"code":17}}`, event.SourceFailing, 0, true, "no longer knows"},
		{410, "", ``, event.SourceFailing, 0, true, "410 Gone"},
		{200, "", `{"errors":["no"],"data":[],"has_more":false}`, event.SourceRefused, 0, false, "200 OK"},
		{429, "", "", event.SourceLimited, 0, false, "less often"},
		{429, "0", "", event.SourceLimited, 0, false, "less often"},
		{429, "120", "", event.SourceLimited, 2 * time.Minute, false, "in 2m"},
		{429, "66975", "", event.SourceLimited, 66975 * time.Second, false, "429"},
		{429, "1.2", "", event.SourceLimited, 2 * time.Second, false, "429"},
		{429, "99999999999999999999", "", event.SourceLimited, maxRetryAfter, false, "429"},
		{429, "1e999", "", event.SourceLimited, maxRetryAfter, false, "429"},
		{429, "Inf", "", event.SourceLimited, maxRetryAfter, false, "429"},
		{429, "NaN", "", event.SourceLimited, 0, false, "429"},
		{429, "-5", "", event.SourceLimited, 0, false, "429"},
		{429, "soon", "", event.SourceLimited, 0, false, "429"},
		{429, "Wed, 21 Oct 2026 07:30:00 GMT", "", event.SourceLimited, 2 * time.Minute, false, "429"},
		{429, "Wed, 21 Oct 2026 07:00:00 GMT", "", event.SourceLimited, 0, false, "429"},
		{429, "Wednesday, 21-Oct-26 07:30:00 GMT", "", event.SourceLimited, 2 * time.Minute, false, "429"},
		{429, "Fri, 21 Oct 2089 07:30:00 GMT", "", event.SourceLimited, maxRetryAfter, false, "429"},
		{503, "30", "", event.SourceLimited, 30 * time.Second, false, "503 Service Unavailable"},
		{503, "Wed, 21 Oct 2026 07:28:30 GMT", "", event.SourceLimited, 30 * time.Second, false, "503"},
		{503, "", "", event.SourceFailing, 0, false, "503"},
		{503, "NaN", "", event.SourceFailing, 0, false, "503"},
		{503, "-1", "", event.SourceFailing, 0, false, "503"},
		{503, "later", "", event.SourceFailing, 0, false, "503"},
		{500, "30", `{"message":"oops"}`, event.SourceFailing, 30 * time.Second, false, `«{"message":"oops"}»`},
		{502, "", "<html>\n<b>Bad\x00\x1b[31m gateway</b>", event.SourceFailing, 0, false, "«<html> <b>Bad [31m gateway</b>»"},
		{404, "", "é" + strings.Repeat("é", 200), event.SourceFailing, 0, false, "«" + strings.Repeat("é", 100) + "…»"},
		{404, "", "", event.SourceFailing, 0, false, "check the address"},
		{599, "", "", event.SourceFailing, 0, false, "answered 599"},
		{403, "60", "", event.SourceRefused, time.Minute, false, "answered 403"},
		{304, "", "", event.SourceFailing, 0, false, "answered 304"},
	} {
		t.Run(fmt.Sprint(test.status, test.retryAfter, test.body[:min(20, len(test.body))]), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", served)
				if test.retryAfter != "" {
					w.Header().Set("Retry-After", test.retryAfter)
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}))
			defer server.Close()
			h, err := New(recipe.HTTP{URL: server.URL + "/e", Items: "data", Position: "head_walk", Errors: rules}, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Fetch(t.Context(), poller.Request{})
			fe := fetchError(t, err)
			if fe.Health != test.health || fe.After != test.after || fe.Lost != test.lost {
				t.Errorf("got %s, after %s, lost %v", fe.Health, fe.After, fe.Lost)
			}
			if !strings.HasPrefix(err.Error(), "GET "+server.URL+"/e") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q in it", err, test.want)
			}
		})
	}
}

// A cursor stops being known when its event expires or is deleted, and APIs say so in several ways. Of the head of a list the same
// answers mean something else.
func TestAPlaceThatTheAPIDoesNotKnowIsLost(t *testing.T) {
	for status, want := range map[int]bool{400: true, 404: true, 410: true, 422: true, 401: false, 403: false, 429: false, 500: false, 503: false} {
		a := newAPI(t)
		a.events = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
		h := a.source(t, Options{})
		if _, err := h.Fetch(t.Context(), poller.Request{Cursor: "evt_1"}); fetchError(t, err).Lost != want {
			t.Errorf("%d to a cursor: %v, lost %v", status, err, !want)
		}
		if _, err := h.Fetch(t.Context(), poller.Request{}); fetchError(t, err).Lost {
			t.Errorf("%d to the head of the list: a lost place, %v", status, err)
		}
	}
	a := newAPI(t)
	a.events = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.WriteString(w, `{"code":"account_disabled"}`)
	}
	if _, err := a.source(t, Options{}).Fetch(t.Context(), poller.Request{Cursor: "evt_1"}); fetchError(t, err).Lost {
		t.Errorf("the recipe's word does not come first: %v", err)
	}
}

func TestServerDateIsReported(t *testing.T) {
	a := newAPI(t)
	a.events = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Wed, 21 Oct 2026 07:28:00 GMT")
		io.WriteString(w, emptyPage)
	}
	h := a.source(t, Options{})
	page, err := h.Fetch(t.Context(), poller.Request{})
	if err != nil || !page.Date.Equal(time.Date(2026, 10, 21, 7, 28, 0, 0, time.UTC)) {
		t.Errorf("%v, %v", page.Date, err)
	}
	a.events = func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		io.WriteString(w, emptyPage)
	}
	if page, err = h.Fetch(t.Context(), poller.Request{}); err != nil || !page.Date.IsZero() {
		t.Errorf("%v, %v", page.Date, err)
	}
}

func TestWithoutAWholeAnswer(t *testing.T) {
	a := newAPI(t)
	h := a.source(t, Options{})
	hijack := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, answer)
			conn.Close()
		}
	}
	for name, test := range map[string]struct{ answer, want string }{
		"length":  {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"data\":[", "(200 OK) broke off after 9 bytes (it begins: «{\"data\":[»)"},
		"chunked": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n", "(200 OK) broke off after 5 bytes"},
		"nothing": {"", "closed without an answer"},
		"status":  {"HTTP/1.1 500 No\r\nContent-Length: 500\r\n\r\nbecause", "500 Internal Server Error (it says: «because»)"},
		"no HTTP": {"220 ftp.example.com ready\r\n", "malformed HTTP"},
	} {
		a.events = hijack(test.answer)
		_, err := h.Fetch(t.Context(), poller.Request{})
		if fetchError(t, err).Health != event.SourceFailing || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.Close()
	_, err := h.Fetch(t.Context(), poller.Request{Cursor: "evt_1"})
	if err == nil || !strings.HasPrefix(err.Error(), "GET "+a.URL+"/events?limit=100&starting_after=evt_1: ") ||
		!strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), `"`) {
		t.Errorf("nobody listens: %v", err)
	}
}

// PagerDuty refuses what lies beyond 10,000 items of a window: the error names what to set.
func TestAWindowOfMoreItemsThanTheAPIGives(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"offset must be less than 10000"}`)
	}))
	defer server.Close()
	h, err := New(recipe.HTTP{
		URL: server.URL, Time: "at", Position: "time_window", Window: recipe.Window{Since: "since", Until: "until"},
		Paging: recipe.Paging{Param: "offset", Cursor: "offset", Limit: "limit", Size: 100},
	}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for cursor, named := range map[string]bool{"": false, "10000": true} {
		if _, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor}); strings.Contains(fetchError(t, err).Error(), "window.step") != named {
			t.Errorf("at %q: %v", cursor, err)
		}
	}
}
