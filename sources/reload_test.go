package sources

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// fromFile is a source whose token stands in a file, and an API that takes one token only.
type fromFile struct {
	path     string
	good     atomic.Value
	asked    atomic.Int64
	server   *httptest.Server
	fetchers []poller.Fetcher
	warnings []string
}

func newFromFile(t *testing.T, path string, transport http.RoundTripper) *fromFile {
	f := &fromFile{path: path}
	f.good.Store("token-one")
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if r.Header.Get("Authorization") != "Bearer "+f.good.Load().(string) {
			w.WriteHeader(403)
			return
		}
		io.WriteString(w, `{"items":[]}`)
	}))
	t.Cleanup(f.server.Close)
	list := recipe.HTTP{URL: f.server.URL, Position: recipe.TailCursor, Items: "items", Paging: recipe.Paging{Param: "c", Cursor: "c"}, Auth: recipe.Auth{Bearer: "{token}"}, Seek: recipe.Seek{URL: f.server.URL + "/seek?t={start}", Cursor: "c"}}
	reload := func() (map[string]event.Secret, error) {
		data, err := os.ReadFile(f.path)
		if text := strings.TrimSpace(string(data)); err == nil && text != "" {
			return map[string]event.Secret{"token": event.NewSecret(text)}, nil
		}
		return nil, errors.New("the file is not there, or empty")
	}
	values, err := reload()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSource([]recipe.Feed{{Name: "a", HTTP: list}, {Name: "b", HTTP: list}}, values, reload, Options{
		Transport: transport, Warn: func(err error) { f.warnings = append(f.warnings, err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.fetchers = s.Fetchers()
	return f
}

// Whatever way the file changes, the new token is used at once when the old one is refused, by all lists, and one request is lost.
func TestRefusedCredentialIsReadAgain(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir, token string){
		"renamed over": func(t *testing.T, dir, token string) {
			write(t, filepath.Join(dir, "new"), token)
			check(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "token")))
		},
		"written in place": func(t *testing.T, dir, token string) { write(t, filepath.Join(dir, "token"), token) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "token"), "token-one\n")
			rotated(t, newFromFile(t, filepath.Join(dir, "token"), nil), func(token string) { change(t, dir, token) })
		})
	}
	t.Run("symlink swapped, as Kubernetes does", func(t *testing.T) {
		dir := t.TempDir()
		n := 0
		mount := func(token string) {
			n++
			version := fmt.Sprintf("..%d", n)
			check(t, os.Mkdir(filepath.Join(dir, version), 0o700))
			write(t, filepath.Join(dir, version, "token"), token)
			check(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
			check(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
			if n > 1 {
				check(t, os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", n-1))))
			}
		}
		mount("token-one")
		check(t, os.Symlink(filepath.Join("..data", "token"), filepath.Join(dir, "token")))
		rotated(t, newFromFile(t, filepath.Join(dir, "token"), nil), mount)
	})
}

func rotated(t *testing.T, f *fromFile, change func(token string)) {
	fetch := func(list int) error {
		_, err := f.fetchers[list].Fetch(t.Context(), poller.Request{})
		return err
	}
	for i, token := range []string{"token-two", "token-six"} { // of one length
		if err := fetch(0); err != nil {
			t.Fatal(err)
		}
		change(token)
		f.good.Store(token)
		before := f.asked.Load()
		if err := errors.Join(fetch(0), fetch(1), fetch(0)); err != nil || f.asked.Load()-before > 4 {
			t.Fatalf("change %d: %v after %d requests", i, err, f.asked.Load()-before)
		}
	}
	if len(f.warnings) > 0 {
		t.Error(f.warnings)
	}
	// One that is refused though the file is as it was is refused; a file that is gone keeps the old one.
	f.good.Store("another")
	before := f.asked.Load()
	if err := fetch(0); fetchError(t, err).Health != event.SourceRefused || f.asked.Load()-before != 1 {
		t.Errorf("%v after %d requests", err, f.asked.Load()-before)
	}
	check(t, os.Remove(f.path))
	f.good.Store("token-six")
	if err := errors.Join(fetch(0), fetch(1)); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o600))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A changed file is noticed within a second without a refusal; one that can't be used is told once, until it can.
func TestChangedCredentialIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values, failure := map[string]event.Secret{"base": event.NewSecret("https://a"), "token": event.NewSecret("one")}, error(nil)
		reads := 0
		var warnings []string
		list := recipe.HTTP{URL: "{base}/x", Position: recipe.HeadWalk, Auth: recipe.Auth{Bearer: "{token}"}}
		sent := ""
		s, err := NewSource([]recipe.Feed{{HTTP: list}}, values, func() (map[string]event.Secret, error) { reads++; return values, failure }, Options{
			Warn: func(err error) { warnings = append(warnings, err.Error()) },
			Transport: roundTrip(func(r *http.Request) string {
				sent = r.URL.Host + " " + r.Header.Get("Authorization")
				return "[]"
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		fetch := func(want string) {
			t.Helper()
			if _, err := s.Fetchers()[0].Fetch(t.Context(), poller.Request{}); err != nil || sent != want {
				t.Errorf("%v, sent %s, want %s", err, sent, want)
			}
		}
		change := func(base, token string) {
			values = map[string]event.Secret{"base": event.NewSecret(base), "token": event.NewSecret(token)}
		}
		change("https://a", "two")
		fetch("a Bearer one")
		time.Sleep(fileEvery)
		fetch("a Bearer two")
		for range 10 {
			fetch("a Bearer two")
		}
		if reads != 1 {
			t.Errorf("the files were read %d times within a second", reads)
		}
		for _, step := range []struct {
			base, token string
			failure     error
			want        string
			warnings    int
		}{
			{"https://a", "three", errors.New("gone"), "a Bearer two", 1},
			{"https://a", "three", errors.New("gone"), "a Bearer two", 1},
			{"https://a", "three", nil, "a Bearer three", 1},
			{"https://a", "three", errors.New("gone"), "a Bearer three", 2},
			{"https://b", "four", nil, "a Bearer three", 3}, // a secret goes to no other origin
			{"https://a", "fi\nve", nil, "a Bearer three", 4},
			{"https://a", "five", nil, "a Bearer five", 4},
		} {
			change(step.base, step.token)
			failure = step.failure
			time.Sleep(fileEvery)
			fetch(step.want)
			if len(warnings) != step.warnings {
				t.Errorf("warnings: %q, want %d", warnings, step.warnings)
			}
		}
		for _, w := range warnings {
			if strings.Contains(w, "four") || strings.Contains(w, "ve") && strings.Contains(w, "fi\n") {
				t.Errorf("a secret is in %q", w)
			}
		}
	})
}

func TestListsKeepTheirSides(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), "token-one")
	f := newFromFile(t, filepath.Join(dir, "token"), nil)
	if _, ok := f.fetchers[0].(poller.Seeker); !ok {
		t.Error("a list that can seek is no Seeker")
	}
	if _, err := f.fetchers[0].(poller.Seeker).Seek(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "no cursor at c") {
		t.Errorf("got %v", err)
	}
	s, err := NewSource([]recipe.Feed{{HTTP: recipe.HTTP{URL: "https://a", Position: recipe.HeadWalk}}}, nil, nil, Options{})
	check(t, err)
	if _, ok := s.Fetchers()[0].(poller.Seeker); ok {
		t.Error("a list that can't seek is a Seeker")
	}
	_, err = NewSource([]recipe.Feed{{Name: "x", HTTP: recipe.HTTP{URL: "nowhere", Position: recipe.HeadWalk}}}, nil, nil, Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "feed x: url") {
		t.Errorf("got %v", err)
	}
}
