package sources

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tidings/poller"
	"tidings/recipe"
)

// listing is how the pages of one list are asked for: of the events, or of the values that for_each goes through.
type listing struct {
	where  string // in the recipe, for errors: nothing, or "for_each."
	method string
	url    string
	query  map[string]string
	first  map[string]string
	body   string
	window recipe.Window
	clock  clock // of the window's bounds
	pager  pager
}

// listing is how the events are asked for.
func (h *HTTP) listing() listing {
	r := h.recipe
	return listing{
		method: cmp.Or(r.Method, http.MethodGet), url: r.URL, query: r.Query, first: r.First, body: r.Body,
		window: r.Window, clock: clock{layout: r.Window.Layout}, pager: h.list.pager,
	}
}

// lookup finds the values of the templates of one request.
type lookup func(name string) (string, bool)

// fill gives the values of a request: the parameters', that of for_each, the cursor and the time to begin at.
func (h *HTTP) fill(l *listing, r poller.Request, value string) lookup {
	return func(name string) (string, bool) {
		switch {
		case h.recipe.ForEach != nil && name == h.recipe.ForEach.As:
			return value, value != ""
		case name == "cursor":
			if r.Cursor == "" && l.pager.counted() {
				n, err := l.pager.number("")
				return strconv.Itoa(n), err == nil
			}
			return r.Cursor, true
		case name == "start":
			return l.clock.format(r.From, false), !r.From.IsZero()
		}
		return h.lookup(name)
	}
}

// build makes the request for one page of a list; value is that of for_each, size how many items are asked for.
func (h *HTTP) build(l *listing, r poller.Request, value string, size int64) (request, error) {
	find, paging := h.fill(l, r, value), l.pager
	req := request{
		method: l.method, header: h.header, conditional: r.Validator != "",
		placed: r.Cursor != "" && !paging.counted() && (h.recipe.Position == recipe.HeadWalk || h.recipe.Position == recipe.TailCursor),
	}
	req.further = r.Cursor != "" && paging.counted() && h.recipe.Position == recipe.TimeWindow
	if r.Validator != "" {
		req.header = req.header.Clone()
		req.header.Set(validatorHeader(r.Validator), r.Validator)
	}
	ends := l.ends(r)
	if l.window.In == recipe.InHeader { // of each page, whatever its address
		req.header = req.header.Clone()
		for name := range ends {
			req.header.Set(name, ends.Get(name))
		}
	}
	var err error
	if r.Cursor != "" && paging.byURL() {
		req.key = req.method + " " + value + " " + r.Cursor
		if req.url, err = h.resume(l, r.Cursor, find); err != nil {
			return req, err
		}
		req.what = req.method + " " + h.shown(req.url)
		if req.url.RawQuery != "" {
			req.what += "?" + cut(h.veil.text(req.url.RawQuery), 100)
		}
		req.body, err = h.fillBody(l, r, find, nil)
		return req, err
	}
	if req.url, err = h.address(l, r.Cursor, find); err != nil {
		return req, err
	}
	query, err := expandAll(l.where+"query.", l.query, find)
	if err != nil {
		return req, err
	}
	more, err := h.pageValues(l, r, find, size)
	if err != nil {
		return req, err
	}
	req.loose = req.method + " " + req.url.EscapedPath() + " " + value + " " + r.Cursor
	req.key = req.loose + " " + more.Encode() + " " + ends.Encode() + " " + r.Validator
	if l.window.In != recipe.InHeader {
		maps.Copy(more, ends)
	}
	req.what = req.method + " " + h.shown(req.url) + h.shownValues(l, find, query, more, r.Cursor)
	if paging.In == recipe.InHeader && r.Cursor != "" {
		if hasControl(r.Cursor) {
			return req, errors.New("the cursor has control characters, which no header can take")
		}
		req.header = req.header.Clone()
		req.header.Set(paging.Param, r.Cursor)
	}
	inBody := url.Values(nil)
	if paging.In == recipe.InBody {
		inBody = more
	} else {
		maps.Copy(query, more)
	}
	addQuery(req.url, query)
	req.body, err = h.fillBody(l, r, find, inBody)
	return req, err
}

// pageValues are the parameters that say which page is meant. They stand in the query, or in the body where the paging is there.
func (h *HTTP) pageValues(l *listing, r poller.Request, find lookup, size int64) (url.Values, error) {
	values := url.Values{}
	if r.Cursor == "" && len(l.first) > 0 {
		var err error
		if values, err = expandAll(l.where+"first.", l.first, find); err != nil {
			return nil, err
		}
	}
	if l.pager.Limit != "" {
		values.Set(l.pager.Limit, strconv.FormatInt(size, 10))
	}
	if in := l.pager.In; r.Cursor != "" && l.pager.Param != "" && (in == "" || in == recipe.InQuery || in == recipe.InBody) {
		values.Set(l.pager.Param, r.Cursor)
	}
	return values, nil
}

// ends are the parameters that say which window is meant. They stand in a header, or where the page's own do.
func (l *listing) ends(r poller.Request) url.Values {
	values := url.Values{}
	if l.window.Since != "" && !r.Since.IsZero() {
		values.Set(l.window.Since, l.clock.format(r.Since, false))
	}
	if l.window.Until != "" && !r.Until.IsZero() {
		values.Set(l.window.Until, l.clock.format(r.Until, true))
	}
	return values
}

// shownValues is the query of a request, for texts that are shown: what stands in the recipe itself and is no credential, and what tells
// one page from another, the cursor last.
func (h *HTTP) shownValues(l *listing, find lookup, query, more url.Values, cursor string) string {
	var parts []string
	add := func(key, value string) {
		parts = append(parts, url.QueryEscape(key)+"="+cut(h.veil.text(url.QueryEscape(value)), 100))
	}
	_, fixed, _ := strings.Cut(l.url, "?")
	for pair := range strings.SplitSeq(fixed, "&") {
		key, template, _ := strings.Cut(pair, "=")
		if value, err := expand("", template, find); err == nil && key != "" && h.open(key, template) {
			add(key, value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		if h.open(key, l.query[key]) {
			add(key, query.Get(key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(more)) {
		template, first := l.first[key]
		if first && h.open(key, template) || slices.Contains([]string{l.pager.Limit, l.window.Since, l.window.Until}, key) {
			add(key, more.Get(key))
		}
	}
	if cursor != "" && l.pager.Param != "" {
		add(l.pager.Param, cursor)
	}
	if len(parts) == 0 {
		return ""
	}
	return "?" + strings.Join(parts, "&")
}

// open reports whether the value of a query parameter may be shown: nothing in it comes from outside the recipe, but for Options.Open.
func (h *HTTP) open(key, template string) bool {
	t, err := recipe.ParseTemplate(template)
	if err != nil || recipe.Credential(key) {
		return false
	}
	return !slices.ContainsFunc(t.Names(), func(name string) bool {
		_, outside := h.values[name]
		return outside && !slices.Contains(h.options.Open, name)
	})
}

// expandAll expands templates of query parameters; one without a value leaves its key out.
func expandAll(path string, templates map[string]string, find lookup) (url.Values, error) {
	values := url.Values{}
	for key, text := range templates {
		value, err := expand(path+key, text, find)
		if _, missing := errors.AsType[*recipe.MissingError](err); missing {
			continue
		}
		if err != nil {
			return nil, err
		}
		values.Set(key, value)
	}
	return values, nil
}

// address is the list's URL. Where the cursor is a part of its path, the list's beginning is the URL without that part.
func (h *HTTP) address(l *listing, cursor string, find lookup) (*url.URL, error) {
	// A server would take these for steps in its path, which escaping does not change.
	step := ""
	checked := func(name string) (string, bool) {
		value, ok := find(name)
		if value == "." || value == ".." {
			step = value
		}
		return value, ok
	}
	text := l.url
	if cursor == "" && l.pager.In == recipe.InPath && !l.pager.counted() {
		text = strings.Replace(text, "/{cursor}", "", 1)
	}
	u, err := h.expandURL(l.where+"url", text, checked)
	if err == nil && step != "" {
		return nil, fmt.Errorf("%surl: a value is %q, which can't stand in an address", l.where, step)
	}
	return u, err
}

// fillBody makes the JSON body: more is set at its paths in the template's object.
func (h *HTTP) fillBody(l *listing, r poller.Request, find lookup, more url.Values) (string, error) {
	if l.body == "" && len(more) == 0 {
		return "", nil
	}
	text, err := fillJSON(l.where+"body", l.body, find, noJSON)
	if err != nil {
		return "", err
	}
	if len(more) == 0 {
		return text, nil
	}
	body := map[string]any{}
	if text != "" {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&body); err != nil || body == nil {
			return "", fmt.Errorf("%sbody makes no JSON object, which paging.in: body needs", l.where)
		}
	}
	for path := range more {
		first := ""
		if r.Cursor == "" {
			first = l.first[path]
		}
		if err := set(body, path, l.typed(path, more.Get(path), first)); err != nil {
			return "", fmt.Errorf("%sbody: %w", l.where, err)
		}
	}
	encoded, err := json.Marshal(body)
	return string(encoded), err
}

// typed is the value of a parameter for the body, first being the recipe's template of it: a number where it counts something, and what
// is written as JSON as that.
func (l *listing) typed(path, text, first string) any {
	counted := path == l.pager.Limit || path == l.pager.Param && l.pager.counted()
	moment := path == l.window.Since || path == l.window.Until || first == "{start}"
	if counted || moment && units[l.window.Layout] > 0 {
		return json.Number(text)
	}
	if first == text && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// noJSON is for a template none of whose values is JSON already.
func noJSON(string) (string, bool) { return "", false }

// fillJSON puts values into a template of JSON: those that whole finds as they are, others as JSON strings, null for one that is missing.
func fillJSON(path, template string, find, whole lookup) (string, error) {
	t, err := recipe.ParseTemplate(template)
	if err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	text, err := t.Expand(func(name string) (string, bool) {
		if value, ok := whole(name); ok {
			return value, true
		}
		if value, ok := find(name); ok {
			return quote(value), true
		}
		return "null", true
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// set puts a value at a path of keys with dots between them, making the objects on the way.
func set(object map[string]any, path string, value any) error {
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		inner, ok := object[key].(map[string]any)
		if object[key] == nil {
			inner, ok = map[string]any{}, true
			object[key] = inner
		}
		if !ok {
			return fmt.Errorf("there is no object at %s of %s", key, path)
		}
		object = inner
	}
	object[keys[len(keys)-1]] = value
	return nil
}

// validatorHeader is the header that a page's validator is sent back in: an entity tag begins with a quote, or with W/ and one.
func validatorHeader(validator string) string {
	if strings.HasSuffix(validator, `"`) {
		return "If-None-Match"
	}
	return "If-Modified-Since"
}

// validator is what asks for the page again only if it has changed (RFC 9110, 8.8); empty where the answer has nothing of use.
func (a answer) validator() string {
	tag := a.header.Get("ETag")
	if opaque := strings.TrimPrefix(tag, "W/"); len(opaque) > 1 && len(tag) <= 1<<10 && opaque[0] == '"' &&
		strings.IndexByte(opaque[1:], '"') == len(opaque)-2 && !hasControl(tag) {
		return tag
	}
	if modified := a.header.Get("Last-Modified"); modified != "" {
		if _, err := http.ParseTime(modified); err == nil {
			return modified
		}
	}
	return ""
}
