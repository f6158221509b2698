package sources

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tidings/event"
	"tidings/poller"
)

// bigItems lists n items of size bytes, as many as limit allows, after the cursor.
func bigItems(n, size int, limits *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*limits = append(*limits, r.URL.Query().Get("limit"))
		var start, limit int
		fmt.Sscanf(r.URL.Query().Get("starting_after"), "evt_%d", &start)
		fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		end := min(n, start+limit)
		var items []string
		for i := start + 1; i <= end; i++ {
			items = append(items, fmt.Sprintf(`{"id":"evt_%d","x":"%s"}`, i, strings.Repeat("x", size)))
		}
		fmt.Fprintf(w, `{"has_more":%v,"data":[%s]}`, end < n, strings.Join(items, ","))
	}
}

func TestOversizedPagesAreHalved(t *testing.T) {
	a := newAPI(t)
	var limits []string
	a.events = bigItems(6, 1000, &limits)
	h := a.source(t, Options{MaxBody: 3500})
	var ids []string
	cursor := ""
	for {
		page, err := h.Fetch(t.Context(), poller.Request{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if cursor = page.Next; !page.More {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "evt_1 evt_2 evt_3 evt_4 evt_5 evt_6" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(limits, " "); got != "100 50 25 12 6 3 3" {
		t.Errorf("limits %s", got)
	}
	limits = nil
	if _, err := h.Fetch(t.Context(), poller.Request{}); err != nil || limits[0] != "100" {
		t.Errorf("limits %v at the head, %v", limits, err)
	}

	limits = nil
	a.events = bigItems(6, 5000, &limits)
	_, err := h.Fetch(t.Context(), poller.Request{Cursor: "evt_2"})
	if fetchError(t, err).Health != event.SourceFailing || !strings.Contains(err.Error(), "3500 bytes") || limits[len(limits)-1] != "1" {
		t.Errorf("limits %v, %v", limits, err)
	}
}

func TestBodyLimitCountsDecodedBytes(t *testing.T) {
	a := newAPI(t)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	io.WriteString(z, `{"has_more":false,"data":["`)
	for range 8 {
		z.Write(bytes.Repeat([]byte("x"), 1<<20))
	}
	io.WriteString(z, `"]}`)
	z.Close()
	a.events = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	}
	if _, err := a.source(t, Options{MaxBody: 256 << 10}).Fetch(t.Context(), poller.Request{}); err == nil || !strings.Contains(err.Error(), "262144 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestLongBodyIsNotReadToItsEnd(t *testing.T) {
	const whole = 64 << 20
	for _, status := range []int{200, 500} {
		a := newAPI(t)
		written := make(chan int, 1)
		a.events = func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			n, chunk := 0, bytes.Repeat([]byte(" "), 64<<10)
			for n < whole {
				if _, err := w.Write(chunk); err != nil {
					break
				}
				n += len(chunk)
			}
			written <- n
		}
		_, err := a.source(t, Options{MaxBody: 256 << 10}).FetchOne(t.Context(), "evt_1")
		if n := <-written; err == nil || n == whole { // what the sockets buffer is written all the same
			t.Errorf("%d: %v after %d bytes", status, err, n)
		}
	}
}
