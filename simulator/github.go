package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GitHub is the simulated activity of a GitHub repository, as https://docs.github.com/rest/activity/events describes it: newest first,
// by page numbers, the last 300 events of the last 30 days, served from 30 seconds to 6 hours late (Faults.Late). Ids say
// nothing about order. An answer has an ETag, and one that has not changed is a 304 that costs nothing of the rate limit;
// X-Poll-Interval says how often one may ask. The Link header names the repository by its number.
type GitHub struct {
	account
	owner, repo, token string
	interval           time.Duration
	limit              int // requests an hour

	window time.Time // when the hour ends that used counts
	used   int
	polled time.Time // the last first page that was served
}

// Limits of the events API.
const (
	gitHubLimit        = 100
	gitHubDefaultLimit = 30
	gitHubNewest       = 300
	gitHubRetain       = 30 * 24 * time.Hour
	gitHubInterval     = time.Minute
	gitHubRate         = 5000 // https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
	gitHubNumber       = "1296269"
)

// NewGitHub makes a repository without events.
func NewGitHub(o Options) *GitHub {
	g := &GitHub{owner: "octo-org", repo: "octo-repo", token: o.APIKey, interval: gitHubInterval, limit: gitHubRate}
	g.init(g, o, gitHubLimit, gitHubRetain)
	g.newest = gitHubNewest
	if g.token == "" {
		g.token = "ghp_" + strings.TrimPrefix(objectID(o.Seed, "github", 0), "github_")
	}
	if o.Interval > 0 {
		g.interval = max(o.Interval.Truncate(time.Second), time.Second)
	}
	if o.RateLimit > 0 {
		g.limit = o.RateLimit
	}
	return g
}

// With returns the parameters of the preset github that reach this repository at base.
func (g *GitHub) With(base string) map[string]string {
	return map[string]string{"path": "repos/" + g.owner + "/" + g.repo, "token": g.token, "base_url": base}
}

func (g *GitHub) serve(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case !g.allowed(w, token == g.token && (scheme == "Bearer" || scheme == "token"), "", "Bad credentials"):
	case r.Method != http.MethodGet || !slices.Contains(g.lists(), r.URL.Path):
		g.refuse(w, http.StatusNotFound, "", "Not Found")
	case !g.spend(w):
		g.refuse(w, http.StatusForbidden, "", "API rate limit exceeded for user ID 1.")
	default:
		g.serveList(w, r)
	}
}

// lists are the paths that list the repository's events, and those that list no others here.
func (g *GitHub) lists() []string {
	repo := g.owner + "/" + g.repo + "/events"
	return []string{
		"/repos/" + repo, "/repositories/" + gitHubNumber + "/events", "/networks/" + repo,
		"/orgs/" + g.owner + "/events", "/users/" + g.owner + "/events", "/events",
	}
}

// refuse answers with an error object. A rate limit is a 403, half of the time without a Retry-After: then the headers say when there
// are requests again (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
func (g *GitHub) refuse(w http.ResponseWriter, status int, code, message string) {
	if code == "rate_limited" {
		status, message = http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
		g.mu.Lock()
		if g.requests.IntN(2) == 0 {
			message = "API rate limit exceeded for user ID 1."
			g.quiet = g.quiet.Add(time.Second - 1).Truncate(time.Second)
			w.Header().Del("Retry-After")
			g.rate(w.Header(), 0, g.quiet)
		}
		g.mu.Unlock()
	}
	writeError(w, status, object{
		{"message", message}, {"documentation_url", "https://docs.github.com/rest"}, {"status", strconv.Itoa(status)},
	})
}

func (g *GitHub) rate(h http.Header, remaining int, reset time.Time) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(g.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	h.Set("X-RateLimit-Used", strconv.Itoa(g.limit-remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}

// spend counts a request against the rate limit and reports whether there was one left.
func (g *GitHub) spend(w http.ResponseWriter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if !now.Before(g.window) {
		g.window, g.used = now.Add(time.Hour).Truncate(time.Second), 0
	}
	if g.used >= g.limit {
		g.quiet = g.window
		g.rate(w.Header(), 0, g.window)
		return false
	}
	g.used++
	g.rate(w.Header(), g.limit-g.used, g.window)
	return true
}

// unspend gives back what a 304 does not cost.
func (g *GitHub) unspend(w http.ResponseWriter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used--
	g.stats.Unchanged++
	g.rate(w.Header(), g.limit-g.used, g.window)
}

// parseGitHubQuery returns the page's number and size: what is not understood is taken for the default, what is too much for the
// most there is. ok is false for what lies beyond the 300 events.
func parseGitHubQuery(values url.Values) (page, size int, ok bool) {
	page, size = 1, gitHubDefaultLimit
	if n, err := strconv.Atoi(values.Get("per_page")); err == nil && n > 0 {
		size = min(n, gitHubLimit)
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 0 {
		page = n
	}
	return page, size, page <= (gitHubNewest+size-1)/size
}

func (g *GitHub) serveList(w http.ResponseWriter, r *http.Request) {
	number, size, ok := parseGitHubQuery(r.URL.Query())
	if !ok {
		g.refuse(w, http.StatusUnprocessableEntity, "",
			"In order to keep the API fast for everyone, pagination is limited for this resource.")
		return
	}
	size = min(size, g.largest)
	g.mu.Lock()
	all := slices.Clone(g.list.entries[g.floor():])
	slices.Reverse(all)
	page, more := g.numbered(all, number, size)
	if now := g.now(); number == 1 {
		if now.Before(g.polled.Add(g.interval)) {
			g.stats.Early++
		}
		g.polled = now
	}
	g.mu.Unlock()
	body := append(appendItems(append(newBody(page), '['), page), ']')

	sum := sha256.Sum256(body)
	tag := `W/"` + hex.EncodeToString(sum[:]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("X-Poll-Interval", strconv.Itoa(int(g.interval/time.Second)))
	w.Header().Set("Cache-Control", "private, max-age=60, s-maxage=60")
	if links := g.links(r, number, size, (len(all)+size-1)/size, more); links != "" {
		w.Header().Set("Link", links)
	}
	if strings.Contains(r.Header.Get("If-None-Match"), strings.TrimPrefix(tag, "W/")) {
		g.unspend(w)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	g.send(w, body)
}

// links is the Link header (RFC 8288), as https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api shows it.
func (g *GitHub) links(r *http.Request, number, size, last int, more bool) string {
	var links []string
	add := func(rel string, page int) {
		target := selfURL(r, fmt.Sprintf("per_page=%d&page=%d", size, page))
		target = strings.Replace(target, "/repos/"+g.owner+"/"+g.repo+"/", "/repositories/"+gitHubNumber+"/", 1)
		links = append(links, fmt.Sprintf("<%s>; rel=%q", target, rel))
	}
	if number > 1 {
		add("prev", number-1)
	}
	if more {
		add("next", number+1)
		add("last", last)
	}
	if number > 1 {
		add("first", 1)
	}
	return strings.Join(links, ", ")
}

// gitHubTypes are types of https://docs.github.com/rest/using-the-rest-api/github-event-types.
var gitHubTypes = []string{
	"PushEvent", "PushEvent", "PushEvent", "PullRequestEvent", "IssuesEvent", "IssueCommentEvent", "CreateEvent", "DeleteEvent", "ForkEvent",
	"WatchEvent", "ReleaseEvent",
}

// happen makes the next event, at t, to the second.
func (g *GitHub) happen(t time.Time, typ string) []*entry {
	m := g.newMaker(t.Truncate(time.Second))
	if typ == "" {
		typ = m.pickText(gitHubTypes)
		if g.odd(&g.faults.Unknown, "unknown", m.r, usualUnknown) {
			typ = m.word(letters[10:36], 1) + m.word(letters[36:], 7) + "Event"
		}
	}
	id := "4" + m.word(digits, 10)
	actor, login := m.r.IntN(1_000_000), "user"+m.word(digits, 5)
	base, repo := "https://api.github.com/", g.owner+"/"+g.repo
	head := m.word(base16, 40)
	item := object{
		{"id", id}, {"type", typ},
		{"actor", object{{"id", actor}, {"login", login}, {"gravatar_id", ""}, {"url", base + "users/" + login}}},
		{"repo", object{{"id", literal(gitHubNumber)}, {"name", repo}, {"url", base + "repos/" + repo}}},
		{"payload", object{
			{"push_id", m.number()}, {"size", 1}, {"ref", "refs/heads/main"}, {"head", head}, {"before", m.word(base16, 40)},
			{"commits", []any{object{
				{"sha", head}, {"author", m.pickText(names)}, {"message", m.pickText(remarks)}, {"distinct", true},
			}}},
		}},
		{"public", true}, {"created_at", stamp(m.at)},
	}
	return []*entry{{Event: Event{ID: id, Type: typ, Time: m.at, Raw: slices.Clip(m.style().append(nil, item, 0))}, seq: g.seq}}
}
