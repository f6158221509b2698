package sources

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidings/poller"
	"tidings/recipe"
)

// allocated is how many bytes f allocates, in all goroutines, whether they are freed or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A page of 200 MB, and a body without end, are refused at the limit: what was allocated for them is no more than the limit and a
// quarter, whether or not the length was announced. For both the API gets its connection closed.
func TestABodyWithoutEndCostsNoMoreThanTheLimit(t *testing.T) {
	const limit, whole = 32 << 20, 200 << 20
	chunk := bytes.Repeat([]byte(`{"id":"a"},`), 1000)
	for name, length := range map[string]int{"announced": whole, "200 MB": 0, "without end": -1} {
		written := make(chan int, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if length > 0 {
				w.Header().Set("Content-Length", strconv.Itoa(length))
			}
			n, err := w.Write([]byte(`[`))
			for err == nil && (n < whole || length < 0) {
				var m int
				m, err = w.Write(chunk[:min(len(chunk), max(whole-n, 1))])
				n += m
			}
			written <- n
		}))
		h, err := New(recipe.HTTP{URL: server.URL, ID: "id", Position: "head_walk"}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		bytes := allocated(func() { _, err = h.Fetch(t.Context(), poller.Request{}) })
		fetchError(t, err)
		if want := fmt.Sprintf("more than the %d bytes that one answer may have", limit); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if length > 0 && bytes > 4<<20 || bytes > limit+limit/4 {
			t.Errorf("%s: %d bytes were allocated for a limit of %d", name, bytes, limit)
		}
		if n := <-written; n > limit+32<<20 { // what the sockets hold is written all the same
			t.Errorf("%s: %d bytes were taken", name, n)
		}
		server.Close()
	}
}

// An event takes more memory than the few bytes of an item may, so their number is bounded too.
func TestAPageOfVeryManyItems(t *testing.T) {
	for item, want := range map[string]string{"1": "more than 100000 events", `{"list":[1,2,3,4,5]}`: "more than 100000 events"} {
		body := "[" + strings.Repeat(item+",", 2_000_000/len(item)) + item + "]"
		l, err := newLister("s", recipe.HTTP{URL: "https://a.example", Position: "head_walk", ID: "id", Explode: map[bool]string{true: "list"}[len(item) > 2]})
		if err != nil {
			t.Fatal(err)
		}
		bytes := allocated(func() { _, err = l.page(body, place{}, time.Time{}) })
		if err == nil || !strings.Contains(err.Error(), want) || bytes > 256<<20 {
			t.Errorf("%s: %v, %d bytes", item, err, bytes)
		}
	}
}

// readBody reads the same whether the length is known, and no further than one byte past the limit.
func TestReadBody(t *testing.T) {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000, 300_000} {
		content := strings.Repeat("0123456789", size/10+1)[:size]
		for _, length := range []int64{-1, int64(size)} {
			for _, limit := range []int64{1, int64(size) - 1, int64(size), int64(size) + 1, 1 << 20} {
				if limit < 0 {
					continue
				}
				from := strings.NewReader(content)
				body, n, err := readBody(from, length, limit)
				if over := int64(size) > limit; err != nil || over != (n > limit) || !over && body != content {
					t.Errorf("%d bytes, %d announced, limit %d: %d bytes, %v", size, length, limit, n, err)
				}
				if taken := int64(size - from.Len()); taken > limit+1 {
					t.Errorf("%d bytes, %d announced, limit %d: %d bytes were taken", size, length, limit, taken)
				}
			}
		}
	}
	broken := io.MultiReader(strings.NewReader("abc"), errReader{})
	if body, n, err := readBody(broken, -1, 10); body != "abc" || n != 3 || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %d, %v", body, n, err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
