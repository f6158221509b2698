package sources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// Ack acknowledges events of a page, each by itself or all at once, as the recipe says. What has no id can't be acknowledged, nor can an
// event by itself that the API does not take: the others are, and then it is an error. Every error is a *poller.FetchError.
func (h *HTTP) Ack(ctx context.Context, cursor string, events []event.Event) error {
	if h.recipe.Ack.URL == "" {
		return failing("the recipe does not say how events are acknowledged")
	}
	if h.each != nil {
		_, inner, err := eachCursor(cursor)
		if err != nil {
			return failing("%w", err)
		}
		cursor = inner
	}
	var ids []string
	without := 0
	for _, e := range events {
		if e.Broken != "" || strings.HasPrefix(e.ID, "sha256_") {
			without++
			continue
		}
		ids = append(ids, e.ID)
	}
	batches := [][]string{ids}
	if h.ackedOneByOne() {
		batches = nil
		for _, id := range ids {
			batches = append(batches, []string{id})
		}
	}
	if len(ids) == 0 {
		batches = nil
	}
	var refused *poller.FetchError
	for _, batch := range batches {
		req, err := h.acknowledgement(cursor, batch)
		if err != nil {
			refused = cmp.Or(refused, failing("an event can't be acknowledged: %w", err))
			continue
		}
		a, err := h.send(ctx, req)
		if err == nil {
			continue
		}
		fetch, ok := errors.AsType[*poller.FetchError](err)
		if !ok || !h.ackedOneByOne() || !refusesOne(a.status) || fetch.Health != event.SourceFailing {
			return err
		}
		refused = cmp.Or(refused, fetch)
	}
	if without > 0 {
		refused = cmp.Or(refused, failing("%d events at %s have no id by which they could be acknowledged; they were taken in, and stay listed",
			without, h.shown(h.url)))
	}
	if refused == nil {
		return nil
	}
	refused.Rest = true
	return refused
}

// refusesOne reports whether a status is about the one thing that was asked for.
func refusesOne(status int) bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity}, status)
}

// ackedOneByOne reports whether each event is acknowledged by a request of its own.
func (h *HTTP) ackedOneByOne() bool {
	for _, text := range []string{h.recipe.Ack.URL, h.recipe.Ack.Body} {
		if t, err := recipe.ParseTemplate(text); err == nil && slices.Contains(t.Names(), "id") {
			return true
		}
	}
	return false
}

// acknowledgement is the request that acknowledges ids.
func (h *HTTP) acknowledgement(cursor string, ids []string) (request, error) {
	a := h.recipe.Ack
	find := func(name string) (string, bool) {
		switch name {
		case "id":
			return ids[0], true
		case "cursor":
			return cursor, true
		}
		return h.lookup(name)
	}
	list := func(name string) (string, bool) {
		quoted := make([]string, len(ids))
		for i, id := range ids {
			quoted[i] = quote(id)
		}
		return "[" + strings.Join(quoted, ",") + "]", name == "ids"
	}
	return h.command("ack", a.Method, a.URL, a.Body, find, list)
}

// Seek asks for the cursor from which the list holds what came at or after t. Every error is a *poller.FetchError.
func (h *HTTP) Seek(ctx context.Context, t time.Time) (string, error) {
	req, err := h.seek(t)
	if err != nil {
		return "", failing("a time can't be sought: %w", err)
	}
	a, err := h.send(ctx, req)
	if err != nil {
		return "", err
	}
	doc, err := parse(a.body)
	if err != nil {
		return "", a.unreadable(err)
	}
	cursor := text(doc.Get(h.recipe.Seek.Cursor))
	if cursor != "" && h.events.pager.byURL() {
		if cursor, err = h.keep(&h.events, req.url, cursor, h.fill(&h.events, poller.Request{}, "")); err != nil {
			return "", a.unreadable(err)
		}
	}
	if cursor == "" || len(cursor) > maxCursor {
		return "", a.unreadable(fmt.Errorf("has no cursor at %s of 1 to %d bytes", h.recipe.Seek.Cursor, maxCursor))
	}
	return cursor, nil
}

func (h *HTTP) seek(t time.Time) (request, error) {
	s := h.recipe.Seek
	if s.URL == "" {
		return request{}, errors.New("the recipe does not say how")
	}
	find := func(name string) (string, bool) {
		if name == "start" {
			return h.events.clock.format(t, false), true
		}
		return h.lookup(name)
	}
	number := func(name string) (string, bool) {
		text, _ := find(name)
		return text, name == "start" && units[h.recipe.Window.Layout] > 0
	}
	return h.command("seek", s.Method, s.URL, s.Body, find, number)
}

// command is a request for something to be done; whole finds the values in its body that are JSON already.
func (h *HTTP) command(path, method, address, body string, find, whole lookup) (request, error) {
	method = cmp.Or(method, http.MethodPost)
	l := listing{where: path + ".", url: address}
	u, err := h.address(&l, "", find)
	if err != nil {
		return request{}, err
	}
	text, err := fillJSON(path+".body", body, find, whole)
	if err != nil {
		return request{}, err
	}
	return request{method: method, url: u, header: h.header, what: method + " " + h.shown(u), body: text}, nil
}

// send makes a request whose answer is small.
func (h *HTTP) send(ctx context.Context, r request) (answer, error) {
	a, err := h.get(ctx, r)
	if err == nil && a.over {
		err = a.tooLarge(h.options.MaxBody)
	}
	return a, err
}
