package simulator

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type nectarList struct {
	TotalDocuments, TotalConnections           int
	PerPage, TotalPages, CurrentPage           int
	HasNext, HasPrevious                       *bool
	Documents, Connections                     []json.RawMessage
	documents, connections, updated, firstSeen []string
}

func newNectar(t *testing.T, o Options) (*Nectar, *caller) {
	n := NewNectar(o)
	return n, newCaller(t, n, "X-API-Key", n.key)
}

func (c *caller) nectar(target string) (l nectarList) {
	c.t.Helper()
	c.get("/v2.2"+target, &l)
	if l.HasNext == nil || l.HasPrevious == nil || l.CurrentPage < 1 || l.PerPage < 1 {
		c.t.Errorf("envelope %+v", l)
	}
	read := func(raws []json.RawMessage) (ids []string) {
		for _, raw := range raws {
			var item struct{ ID, Updated, StatusFirstSeenTime string }
			if err := json.Unmarshal(raw, &item); err != nil {
				c.t.Fatal(err)
			}
			ids, l.updated = append(ids, item.ID), append(l.updated, item.Updated)
			l.firstSeen = append(l.firstSeen, item.StatusFirstSeenTime)
		}
		return ids
	}
	l.documents, l.connections = read(l.Documents), read(l.Connections)
	return l
}

// https://docs.nectarclimate.com/developer-guide/pagination: 100 documents a page; "If you request a page beyond the last page, the API
// returns the last valid page instead of an error."
func TestNectarPages(t *testing.T) {
	n, c := newNectar(t, Options{Seed: 6})
	n.AddAt(time.Now(), slices.Repeat([]string{"document.created"}, 700)...)
	seen := map[string]bool{}
	for _, company := range n.companies {
		var last nectarList
		for page := 1; page == 1 || *last.HasNext; page++ {
			last = c.nectar(fmt.Sprintf("/document/company/%s?page=%d", company.id, page))
			if last.CurrentPage != page || *last.HasPrevious != (page > 1) || *last.HasNext && len(last.documents) != 100 {
				t.Errorf("page %d: %d of %d documents", page, len(last.documents), last.TotalDocuments)
			}
			for _, id := range last.documents {
				seen[id] = true
			}
		}
		beyond := c.nectar(fmt.Sprintf("/document/company/%s?page=99", company.id))
		if beyond.CurrentPage != last.CurrentPage || *beyond.HasNext || !slices.Equal(beyond.documents, last.documents) {
			t.Errorf("page 99 of %d is page %d", beyond.TotalPages, beyond.CurrentPage)
		}
		if l := c.nectar("/connection/company/" + company.id); l.TotalConnections != 0 || l.TotalPages != 1 || *l.HasNext {
			t.Errorf("no connections: %+v", l)
		}
	}
	if len(seen) != 700 {
		t.Errorf("%d documents are listed, of 700", len(seen))
	}
	var companies []struct{ ID string }
	if c.get("/v2.2/company", &companies); len(companies) != 3 || companies[0].ID != n.companies[0].id {
		t.Errorf("companies %v", companies)
	}
	path := "/v2.2/document/company/" + n.companies[0].id
	c.refused("GET", path+"?page=0", "", 400, `"detail":"page is not valid"`)
	c.refused("GET", path+"?dateType=DAY", "", 400, "dateType")
	c.refused("GET", path+"?startDate=2025-02-30", "", 400, "startDate")
	c.refused("GET", "/v2.2/connection/company/x?limit=501", "", 400, "limit")
	c.refused("GET", "/v2.2/none", "", 404, `"detail"`)
	newCaller(t, n).refused("GET", "/v2.2/company", "", 401, `"detail"`)
}

// https://docs.nectarclimate.com/reference/document_connection_retrieve: "'CREATED_DATE' and 'UPDATED_DATE' use UTC and are truncated to
// day start."
func TestNectarDates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := newNectar(t, Options{})
		noon := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
		for day := range 4 {
			n.AddAt(noon.AddDate(0, 0, day), "document.created")
		}
		n.AddAt(noon.AddDate(0, 0, 9), "document.updated")
		count := func(query string) (found int) {
			for _, company := range n.companies {
				l := c.nectar("/document/company/" + company.id + "?" + query)
				found += len(l.documents)
				if !slices.IsSortedFunc(l.updated, func(a, b string) int { return strings.Compare(b, a) }) {
					t.Errorf("%s: order %v", query, l.updated)
				}
				for _, text := range l.updated {
					if _, err := time.Parse("2006-01-02T15:04:05.000000000", text); err != nil || len(text) != 29 {
						t.Error(err)
					}
				}
			}
			return found
		}
		for query, want := range map[string]int{
			"": 4, "dateType=UPDATED_DATE": 4, "dateType=UPDATED_DATE&startDate=2025-03-10": 1, "dateType=UPDATED_DATE&startDate=2025-03-11": 0,
			"dateType=UPDATED_DATE&endDate=2025-03-10": 3, "dateType=UPDATED_DATE&endDate=2025-03-11": 4,
			"dateType=CREATED_DATE&startDate=2025-03-02&endDate=2025-03-04": 2,
		} {
			if got := count(query); got != want {
				t.Errorf("%q: %d documents, want %d", query, got, want)
			}
		}
	})
}

// What happens is told by versions; times of a connection change without anything having happened.
func TestNectarFacts(t *testing.T) {
	n, c := newNectar(t, Options{Seed: 8})
	n.Backfill(300, 48*time.Hour)
	n.Add(50)
	n.AddLate(time.Hour)
	listed := map[string][]byte{}
	for _, company := range n.companies {
		for _, l := range []nectarList{
			c.nectar("/connection/company/" + company.id + "?limit=500"), c.nectar("/document/company/" + company.id + "?page=1"),
			c.nectar("/document/company/" + company.id + "?page=2"),
		} {
			for _, raw := range slices.Concat(l.Connections, l.Documents) {
				body := append([]byte(`{"eventType":"x",`), raw[1:]...)
				key, err := n.Key("", body)
				if err != nil {
					t.Fatal(err)
				}
				listed[key] = body
			}
		}
	}
	types, touched, keys := map[string]int{}, 0, map[string]bool{}
	for _, f := range n.Facts() {
		body, ok := listed[f.Key]
		if ok == f.Gone || keys[f.Key] {
			t.Errorf("%s %s: listed %t, gone %t, twice %t", f.Type, f.Key, ok, f.Gone, keys[f.Key])
		}
		if ok && !f.Holds(body) {
			t.Errorf("%s: %s does not hold %s", f.Key, body, f.Body)
		}
		if len(f.shown) > 0 {
			touched++
		}
		keys[f.Key] = true
		types[f.Type]++
	}
	if len(keys) != 351 || len(types) != 4 || touched == 0 {
		t.Errorf("%d facts of %v, %d touched", len(keys), types, touched)
	}
}

func FuzzParseNectarQuery(f *testing.F) {
	for _, seed := range []string{
		"page=2&limit=500",
		"startDate=2025-01-01&endDate=2024-12-31&dateType=UPDATED_DATE",
		"page=1e3",
		"endDate=0000-00-00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		q, wrong := parseNectarQuery(values, nectarConnections)
		if wrong == "" && (q.page < 1 || q.limit < 1 || q.limit > nectarConnections) {
			t.Errorf("%q: page %d of %d", text, q.page, q.limit)
		}
	})
}
