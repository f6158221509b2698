package sources

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"tidings/recipe"
)

// ours stands in a kept address for the value of a query parameter of our own, which may be a secret.
const ours = "{}"

// nextLink is the target of the first Link header (RFC 8288) that has the relation type next; empty where there is none.
func nextLink(header http.Header) string {
	rest := strings.Join(header.Values("Link"), ",")
	for {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			return ""
		}
		target, after, ok := strings.Cut(after, ">")
		if !ok {
			return ""
		}
		var next, anchored bool
		next, anchored, rest = linkParams(after)
		if next && !anchored {
			return strings.TrimSpace(target)
		}
	}
}

// linkParams reads the parameters of one link, up to the comma behind them. A link with an anchor is one of another resource.
func linkParams(s string) (next, anchored bool, rest string) {
	first := true // only the first rel counts
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ',' {
			return next, anchored, s
		}
		s = strings.TrimLeft(s, "; \t")
		end := strings.IndexAny(s, "=;,")
		if end < 0 {
			return next, anchored, ""
		}
		name := strings.TrimSpace(s[:end])
		var value string
		if s[end] == '=' {
			value, s = paramValue(strings.TrimLeft(s[end+1:], " \t"))
		} else {
			s = s[end:]
		}
		switch {
		case strings.EqualFold(name, "anchor"):
			anchored = true
		case strings.EqualFold(name, "rel") && first:
			first = false
			for word := range strings.FieldsSeq(value) {
				next = next || strings.EqualFold(word, "next")
			}
		}
	}
}

// paramValue reads a token or a quoted string, and returns what is behind it.
func paramValue(s string) (value, rest string) {
	if s == "" || s[0] != '"' {
		end := strings.IndexAny(s, ";,")
		if end < 0 {
			return strings.TrimSpace(s), ""
		}
		return strings.TrimSpace(s[:end]), s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
			fallthrough
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// keep makes a cursor of the address of a page, as it is given in the answer to a request for from: path and query, without the values
// of our own parameters. Another origin is refused, as credentials go to one only.
func (h *HTTP) keep(l *listing, from *url.URL, next string, find lookup) (string, error) {
	if len(next) > maxCursor {
		return "", fmt.Errorf("has an address of the next page of more than %d bytes", maxCursor)
	}
	u, err := from.Parse(next)
	if err != nil || u.Opaque != "" {
		return "", errors.New("has no address where that of the next page should stand")
	}
	if recipe.Origin(u) != h.origin {
		return "", fmt.Errorf("says that the next page is at another origin, %s://%s, which is not asked, as credentials go to one origin only",
			u.Scheme, u.Host)
	}
	own, err := h.ownValues(l, find)
	if err != nil {
		return "", err
	}
	pairs := strings.Split(u.RawQuery, "&")
	for i, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil || !own.Has(name) {
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil && plain == own.Get(name) {
			pairs[i] = key + "=" + ours
		}
	}
	cursor := cmp.Or(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		cursor += "?" + strings.Join(pairs, "&")
	}
	return cursor, nil
}

// resume is the address that keep made the cursor of.
func (h *HTTP) resume(l *listing, cursor string, find lookup) (*url.URL, error) {
	own, err := h.ownValues(l, find)
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(cursor, "?")
	u := *h.url
	u.RawQuery, u.RawPath = "", path
	if u.Path, err = url.PathUnescape(path); err != nil || path != "" && path[0] != '/' {
		return nil, fmt.Errorf("the place %.40q is no address of a page; was the paging changed? Then reset the position", h.veil.text(path))
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(key); err == nil && value == ours && own.Has(name) {
			pairs[i] = key + "=" + url.QueryEscape(own.Get(name))
		}
	}
	u.RawQuery = strings.Join(pairs, "&")
	return &u, nil
}

// ownValues are the query parameters whose values are the user's.
func (h *HTTP) ownValues(l *listing, find lookup) (url.Values, error) {
	own, err := expandAll(l.where+"query.", l.query, find)
	if err != nil {
		return nil, err
	}
	for key, text := range l.query {
		if !strings.Contains(text, "{") {
			own.Del(key)
		}
	}
	return own, nil
}
