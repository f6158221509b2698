package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// caller talks to a simulated API in memory, with what a vendor wants in every request.
type caller struct {
	t      *testing.T
	http   http.Client
	header http.Header
}

const callBase = "https://api.example.com"

func newCaller(t *testing.T, api http.Handler, header ...string) *caller {
	c := &caller{t: t, http: http.Client{Transport: Transport(api)}, header: http.Header{}}
	for pair := range slices.Chunk(header, 2) {
		c.header.Set(pair[0], pair[1])
	}
	return c
}

func (c *caller) do(method, target, body string, header ...string) (*http.Response, []byte) {
	c.t.Helper()
	if !strings.HasPrefix(target, "http") {
		target = callBase + target
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header = c.header.Clone()
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, answer
}

// get decodes an answer of 200 into v, and returns it.
func (c *caller) get(target string, v any) *http.Response {
	c.t.Helper()
	resp, body := c.do("GET", target, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		c.t.Fatalf("GET %s: %d %.300s", target, resp.StatusCode, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		c.t.Fatalf("GET %s: %v: %.300s", target, err, body)
	}
	return resp
}

// refused wants an answer of this status that holds text.
func (c *caller) refused(method, target, body string, status int, text string) {
	c.t.Helper()
	resp, answer := c.do(method, target, body)
	if resp.StatusCode != status || !strings.Contains(string(answer), text) {
		c.t.Errorf("%s %s: %d %s, want %d with %s", method, target, resp.StatusCode, answer, status, text)
	}
}

func factIDs(api API) []string {
	ids := []string{}
	for _, f := range api.Facts() {
		ids = append(ids, f.ID)
	}
	return ids
}

func TestTransport(t *testing.T) {
	s := NewStripe(Options{})
	s.Add(30)
	c := newCaller(t, s, "Authorization", "Bearer "+s.key)
	s.SetFaults(Faults{CutBody: Fault{Next: 1}})
	resp, err := c.http.Do(must(http.NewRequest("GET", callBase+"/v1/events", nil)))
	if err != nil || resp.StatusCode != 401 {
		t.Fatal(resp, err)
	}
	r := must(http.NewRequest("GET", callBase+"/v1/events", nil))
	r.Header = c.header
	resp, err = c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 || int64(len(body)) >= resp.ContentLength {
		t.Errorf("a body of %d of %d bytes that was cut off: %v", len(body), resp.ContentLength, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
