package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newGitHub(t *testing.T, o Options) (*GitHub, *caller) {
	g := NewGitHub(o)
	return g, newCaller(t, g, "Authorization", "Bearer "+g.token)
}

const gitHubEvents = "/repos/octo-org/octo-repo/events"

func (c *caller) gitHub(target string) (ids []string, next string, header http.Header) {
	c.t.Helper()
	var page []struct {
		ID, Type string
		Created  time.Time `json:"created_at"`
	}
	resp := c.get(target, &page)
	for _, e := range page {
		ids = append(ids, e.ID)
	}
	if m := regexp.MustCompile(`<([^>]+)>; rel="next"`).FindStringSubmatch(resp.Header.Get("Link")); m != nil {
		next = m[1]
	}
	return ids, next, resp.Header
}

// https://docs.github.com/rest/activity/events: newest first, up to 300 events; the Link header leads from page to page.
func TestGitHubPaging(t *testing.T) {
	g, c := newGitHub(t, Options{Seed: 2})
	g.Backfill(350, time.Hour)
	var got []string
	pages := 0
	for target := gitHubEvents + "?per_page=100"; target != ""; pages++ {
		ids, next, header := c.gitHub(target)
		if pages > 0 && !strings.Contains(header.Get("Link"), `rel="first"`) {
			t.Errorf("Link %s", header.Get("Link"))
		}
		got, target = append(got, ids...), next
		if next != "" && !strings.HasPrefix(next, callBase+"/repositories/") {
			t.Errorf("next page %s", next)
		}
	}
	want := factIDs(g)[50:]
	slices.Reverse(want)
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d events on %d pages, or another order", len(got), pages)
	}
	for i, f := range g.Facts() {
		if f.Gone != (i < 50) || !json.Valid(f.Raw) {
			t.Fatalf("fact %d: %+v", i, f)
		}
	}
	if slices.IsSortedFunc(want, strings.Compare) {
		t.Error("ids are ordered")
	}
	if ids, _, _ := c.gitHub(gitHubEvents); len(ids) != 30 {
		t.Errorf("a default page of %d", len(ids))
	}
	c.refused("GET", gitHubEvents+"?per_page=100&page=4", "", 422, "pagination is limited")
	c.refused("GET", "/repos/octo-org/other/events", "", 404, "Not Found")
	newCaller(t, g, "Authorization", "Bearer x").refused("GET", gitHubEvents, "", 401, "Bad credentials")
}

// "If no new events have been triggered, you will see a 304 Not Modified response, and your current rate limit will be untouched."
func TestGitHubNotModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, c := newGitHub(t, Options{})
		g.Add(3)
		_, _, header := c.gitHub(gitHubEvents)
		tag, remaining := header.Get("ETag"), header.Get("X-RateLimit-Remaining")
		if header.Get("X-Poll-Interval") != "60" || tag == "" || remaining != "4999" {
			t.Errorf("header %v", header)
		}
		time.Sleep(time.Minute)
		resp, body := c.do("GET", gitHubEvents, "", "If-None-Match", tag)
		if resp.StatusCode != 304 || len(body) > 0 || resp.Header.Get("X-RateLimit-Remaining") != remaining || resp.Header.Get("ETag") != tag {
			t.Errorf("%d with %d bytes, %v", resp.StatusCode, len(body), resp.Header)
		}
		if s := g.Stats(); s.Early != 0 || s.Unchanged != 1 {
			t.Errorf("%+v", s)
		}
		g.Add(1)
		if resp, _ := c.do("GET", gitHubEvents, "", "If-None-Match", tag); resp.StatusCode != 200 || resp.Header.Get("ETag") == tag {
			t.Errorf("after a new event: %d", resp.StatusCode)
		}
		if s := g.Stats(); s.Early != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: 403 (or 429), x-ratelimit-remaining 0 and the epoch second
// of x-ratelimit-reset, or a Retry-After.
func TestGitHubRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, c := newGitHub(t, Options{RateLimit: 2})
		c.gitHub(gitHubEvents)
		c.gitHub(gitHubEvents)
		resp, body := c.do("GET", gitHubEvents, "")
		reset, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
		if err != nil || resp.StatusCode != 403 || resp.Header.Get("X-RateLimit-Remaining") != "0" ||
			!strings.Contains(string(body), "rate limit") {
			t.Fatalf("%d %s %v", resp.StatusCode, body, resp.Header)
		}
		if until := time.Until(time.Unix(reset, 0)); until != time.Hour {
			t.Errorf("reset in %v", until)
		}
		time.Sleep(time.Hour)
		c.gitHub(gitHubEvents)
		if s := g.Stats(); s.Hasty != 0 {
			t.Errorf("%+v", s)
		}
		g.SetFaults(Faults{RateLimited: Fault{Share: 1, For: 9 * time.Second}})
		forms := map[bool]int{}
		for range 40 {
			resp, _ := c.do("GET", gitHubEvents, "")
			after := resp.Header.Get("Retry-After")
			if resp.StatusCode != 403 || after == "" && resp.Header.Get("X-RateLimit-Remaining") != "0" {
				t.Fatalf("%d %v", resp.StatusCode, resp.Header)
			}
			forms[after != ""]++
		}
		if forms[true] == 0 || forms[false] == 0 {
			t.Errorf("forms %v", forms)
		}
	})
}

func FuzzParseGitHubQuery(f *testing.F) {
	for _, seed := range []string{
		"page=2&per_page=100",
		"page=-1&per_page=0",
		"per_page=9999999999999999999",
		"page=9223372036854775807&per_page=7",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		page, size, ok := parseGitHubQuery(values)
		if page < 1 || size < 1 || size > gitHubLimit || ok && (page-1)*size >= gitHubNewest {
			t.Errorf("%q: page %d of %d, %t", text, page, size, ok)
		}
	})
}

// A page number counts from the head: what happens between two pages shifts the second.
func TestGitHubPagesShift(t *testing.T) {
	g, c := newGitHub(t, Options{})
	g.Add(60)
	first, next, _ := c.gitHub(gitHubEvents)
	g.Add(2)
	second, _, _ := c.gitHub(next)
	if !slices.Equal(second[:2], first[28:]) {
		t.Error("the second page does not repeat the last two of the first")
	}
	g.SetFaults(Faults{Loop: Fault{Next: 1}})
	again, _, _ := c.gitHub(fmt.Sprintf("%s?page=2", gitHubEvents))
	if head, _, _ := c.gitHub(gitHubEvents); !slices.Equal(again, head) {
		t.Error("the fault loop does not give the page before")
	}
}
