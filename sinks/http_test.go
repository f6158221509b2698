package sinks

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tidings/dispatch"
	"tidings/event"
)

const secretText = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// post is a request as a receiver saw it.
type post struct {
	*http.Request
	body []byte
}

// receiver answers with h and keeps what it got.
func receiver(t *testing.T, h http.HandlerFunc) (url string, got func() []post) {
	t.Helper()
	var mu sync.Mutex
	var posts []post
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("body: %v", err)
		}
		mu.Lock()
		posts = append(posts, post{r, body})
		mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []post {
		mu.Lock()
		defer mu.Unlock()
		return append([]post(nil), posts...)
	}
}

func answers(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "said so")
	}
}

func newHTTP(t *testing.T, o HTTPOptions) *HTTP {
	t.Helper()
	if o.Format == "" {
		o.Format = Raw
	}
	h, err := NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func TestHTTPSendsWhatStandardWebhooksVerifies(t *testing.T) {
	url, got := receiver(t, answers(204))
	other := "whsec_" + strings.Repeat("QUJD", 10)
	h := newHTTP(t, HTTPOptions{URL: url + "/hooks?x=1", Secrets: []event.Secret{event.NewSecret(secretText), event.NewSecret(other)}})
	data := "{ \"n\": 1.10,\n \"s\": \"é<\" }"
	batch := owed(sample("evt_1", data), sample("a.b/é", data))
	for _, r := range h.Deliver(t.Context(), batch) {
		want(t, []dispatch.Result{r}, dispatch.Done)
	}
	batch[0].Attempts = 6
	want(t, h.Deliver(t.Context(), batch[:1]), dispatch.Done)

	posts := got()
	for i, p := range posts {
		for _, secret := range []string{secretText, other} {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := wh.Verify(p.body, p.Header); err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		}
		if string(p.body) != data || p.Method != http.MethodPost || p.URL.RequestURI() != "/hooks?x=1" {
			t.Errorf("request %d: %s %s %q", i, p.Method, p.URL, p.body)
		}
	}
	if a, b := posts[0].Header.Get("webhook-id"), posts[2].Header.Get("webhook-id"); a != "evt_1" || b != a {
		t.Errorf("webhook-id %q, then %q", a, b)
	}
	trace := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-01$`)
	first, again := trace.FindStringSubmatch(posts[0].Header.Get("traceparent")), trace.FindStringSubmatch(posts[2].Header.Get("traceparent"))
	if first == nil || again == nil || first[1] != again[1] || first[2] == again[2] {
		t.Errorf("traceparent %v, then %v; want one trace and two spans", first, again)
	}
	if at, err := strconv.ParseInt(posts[0].Header.Get("webhook-timestamp"), 10, 64); err != nil || time.Since(time.Unix(at, 0)) > time.Minute {
		t.Errorf("webhook-timestamp %d, %v", at, err)
	}
}

func TestHTTPHeaders(t *testing.T) {
	url, got := receiver(t, answers(200))
	h := newHTTP(t, HTTPOptions{
		URL: url, Version: "1.2.3", Format: Envelope,
		Headers: map[string]event.Secret{"authorization": event.NewSecret("Bearer t0ken")},
	})
	e := sample("a b\r\nX: y", `{"a":1}`)
	e.Type = "tårif"
	d := owed(e)
	d[0].Attempts = 2
	want(t, h.Deliver(t.Context(), d), dispatch.Done)
	p := got()[0]
	for name, value := range map[string]string{
		"Authorization": "Bearer t0ken", "User-Agent": "tidings/1.2.3", "Content-Type": "application/json", "Tidings-Source": "flatpeak",
		"Tidings-Event-Id": "a%20b%0D%0AX:%20y", "Tidings-Event-Type": "t%C3%A5rif", "Tidings-Attempt": "3", "Webhook-Signature": "", "X": "",
	} {
		if got := p.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if !strings.HasPrefix(string(p.body), `{"id":"a b\r\nX: y","source":"flatpeak"`) {
		t.Errorf("body %s", p.body)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"3", "-5", "1.5", "1e9", "NaN", "Inf", "", "Sun, 22 Nov 2026 23:00:00 GMT", "99999999999999999999"} {
		f.Add(text, "Sun, 22 Nov 2026 22:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, text, date string) {
		if wait := retryAfter(http.Header{"Retry-After": {text}, "Date": {date}}); wait < 0 || wait > 24*time.Hour {
			t.Errorf("Retry-After: %q, Date: %q is %v", text, date, wait)
		}
	})
}

func TestHTTPVerdicts(t *testing.T) {
	permanent := []int{400, 429}
	for status := 200; status <= 599; status++ {
		verdict := dispatch.Retry
		switch {
		case status <= 299:
			verdict = dispatch.Done
		case status == 410:
			verdict = dispatch.SinkPause
		case status == 400 || status == 429:
			verdict = dispatch.Permanent
		}
		h := newHTTP(t, HTTPOptions{URL: "http://127.0.0.1:8080/webhooks?token=abc", PermanentStatuses: permanent})
		r := h.judge(&http.Response{StatusCode: status, Header: http.Header{}}, "")
		want(t, []dispatch.Result{r}, verdict)
		if verdict != dispatch.Done && !strings.HasPrefix(r.Reason, "POST http://127.0.0.1:8080/webhooks answered "+strconv.Itoa(status)) {
			t.Errorf("%d: %s", status, r.Reason)
		}
	}
}

func TestHTTPFollowsNoRedirect(t *testing.T) {
	url, got := receiver(t, answers(307, "Location", "/elsewhere"))
	r := want(t, newHTTP(t, HTTPOptions{URL: url}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if len(got()) != 1 || r.Answer != "said so" || !strings.Contains(r.Reason, "307") {
		t.Errorf("%d requests, %+v", len(got()), r)
	}
}

func TestHTTPRetryAfter(t *testing.T) {
	date := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status   int
		after    string
		sink, it time.Duration
	}{
		{429, "30", 30 * time.Second, 0},
		{503, date.Add(time.Minute).Format(http.TimeFormat), time.Minute, 0},
		{503, date.Add(-time.Minute).Format(http.TimeFormat), 0, 0},
		{429, "9999999999999999999999", 24 * time.Hour, 0},
		{429, "-5", 0, 0},
		{429, "NaN", 0, 0},
		{429, "soon", 0, 0},
		{429, "", 0, 0},
		{500, "30", 0, 30 * time.Second},
		{404, "604800", 0, 24 * time.Hour},
	} {
		url, _ := receiver(t, answers(c.status, "Retry-After", c.after, "Date", date.Format(http.TimeFormat)))
		r := want(t, newHTTP(t, HTTPOptions{URL: url}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
		if r.RetryAfter != c.sink || r.Wait != c.it {
			t.Errorf("%d with %q: the sink waits %v and the event %v, want %v and %v", c.status, c.after, r.RetryAfter, r.Wait, c.sink, c.it)
		}
	}
}

func TestHTTPOverAUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	path := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { path <- r.URL.RequestURI() })}
	go func() { _ = srv.Serve(ln) }()
	defer srv.Close()
	want(t, newHTTP(t, HTTPOptions{URL: "unix:" + socket + ":/web/hooks?a=b"}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Done)
	if got := <-path; got != "/web/hooks?a=b" {
		t.Errorf("asked for %s", got)
	}
}

func TestNewHTTPRefuses(t *testing.T) {
	s := event.NewSecret
	for name, o := range map[string]HTTPOptions{
		"no url":         {},
		"ftp":            {URL: "ftp://host/"},
		"no host":        {URL: "http:///path"},
		"no socket":      {URL: "unix:run/app.sock:/"},
		"socket path":    {URL: "unix:/run/app.sock:x"},
		"format":         {URL: "http://h", Format: "xml"},
		"ours":           {URL: "http://h", Headers: map[string]event.Secret{"WebHook-Id": s("hidden")}},
		"ours too":       {URL: "http://h", Headers: map[string]event.Secret{"tidings-x": s("hidden")}},
		"host":           {URL: "http://h", Headers: map[string]event.Secret{"Host": s("hidden")}},
		"length":         {URL: "http://h", Headers: map[string]event.Secret{"content-length": s("hidden")}},
		"name":           {URL: "http://h", Headers: map[string]event.Secret{"a b": s("hidden")}},
		"line break":     {URL: "http://h", Headers: map[string]event.Secret{"a": s("hidden\r\nb: c")}},
		"no whsec_":      {URL: "http://h", Secrets: []event.Secret{s("hidden")}},
		"not base64":     {URL: "http://h", Secrets: []event.Secret{s("whsec_hidden!")}},
		"short":          {URL: "http://h", Secrets: []event.Secret{s("whsec_aGlkZGVu")}},
		"url with trick": {URL: "http://user:hidden@h\x7f/"},
	} {
		if o.Format == "" {
			o.Format = Raw
		}
		if _, err := NewHTTP(o); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHTTPRetryAfterOfARedirectHoldsItsEvent(t *testing.T) {
	url, _ := receiver(t, answers(307, "Location", "/elsewhere", "Retry-After", "30"))
	r := want(t, newHTTP(t, HTTPOptions{URL: url}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if r.Wait != 30*time.Second || r.RetryAfter != 0 {
		t.Errorf("%+v", r)
	}
}

func TestHTTPUnixURLs(t *testing.T) {
	for from, want := range map[string]string{
		"unix:/run/a.sock:/x":             "http://localhost/x",
		"unix:/run/a.sock":                "http://localhost",
		"unix:/run/a:b.sock:/x:y/z":       "http://localhost/x:y/z",
		"unix:/run/a.sock:/a%20b%2Fc?d=e": "http://localhost/a%20b%2Fc?d=e",
		"unix:/run/a.sock:/?d=%2F:/&e":    "http://localhost/?d=%2F:/&e",
	} {
		if got := newHTTP(t, HTTPOptions{URL: from}).url; got != want {
			t.Errorf("%s asks for %s, want %s", from, got, want)
		}
	}
}

func TestHTTPShowsAPeersBytesAsOneLine(t *testing.T) {
	url := "http://" + greets(t, "HTTP/1.1 200 OK\r\n\x1b[2Jspoof "+strings.Repeat("x", 5000)+"\r\n\r\n")
	r := want(t, newHTTP(t, HTTPOptions{URL: url}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if strings.ContainsFunc(r.Reason, unicode.IsControl) || len(r.Reason) > 400 {
		t.Errorf("reason %q", r.Reason)
	}
}
