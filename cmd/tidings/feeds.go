package main

import (
	"fmt"
	"slices"
	"time"

	"tidings/config"
	"tidings/poller"
	"tidings/recipe"
	"tidings/sources"
)

// newFeeds makes the lists of a source, each with the fetcher that asks for it, by what o says beside the source itself. It asks nobody
// anything.
func newFeeds(s config.Source, o sources.Options) ([]poller.Feed, error) {
	of := httpFeeds
	if s.Exec != nil {
		of = execFeeds
	}
	feeds, err := of(s, o)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	return feeds, nil
}

func httpFeeds(s config.Source, o sources.Options) ([]poller.Feed, error) {
	o.Source, o.Open, o.UserAgent = s.Name, s.Open, "tidings/"+version
	if o.Transport == nil {
		t := sources.TransportOptions{Proxy: s.Proxy, Warn: o.Warn}
		if s.TLS != nil {
			t.Cert, t.Key, t.CA = s.TLS.Cert, s.TLS.Key, s.TLS.CA
		}
		transport, err := sources.NewTransport(t)
		if err != nil {
			return nil, err
		}
		o.Transport = transport
	}
	lists := s.HTTP.Lists(s.Feeds)
	source, err := sources.NewSource(lists, s.Values, s.Reload, o)
	if err != nil {
		return nil, err
	}
	feeds := []poller.Feed{}
	for i, fetcher := range source.Fetchers() {
		feed, err := newFeed(lists[i])
		if err != nil && lists[i].Name != "" {
			err = fmt.Errorf("feed %s: %w", lists[i].Name, err)
		}
		if err != nil {
			return nil, err
		}
		feed.Fetcher = fetcher
		feeds = append(feeds, feed)
	}
	return feeds, nil
}

// execFeeds makes the list that a program prints. It goes on from the position that the program gave last; a program that gives none
// prints what it likes, and what is known is not new. Only a start at a time is told to it: from now on means what it did not print at
// its first run.
func execFeeds(s config.Source, o sources.Options) ([]poller.Feed, error) {
	e := s.Exec
	program, err := sources.NewExec(sources.ExecOptions{
		Source: s.Name, Command: reveal(e.Command), Env: e.Env, Hide: e.Hide, Timeout: e.Timeout,
		ID: e.ID, Type: e.Type, Time: e.Time, Zone: e.Zone, Layout: e.Layout, Trace: o.Trace, Replay: o.Replay,
	})
	if err != nil {
		return nil, err
	}
	return []poller.Feed{{
		Kind: poller.TailCursor, Order: poller.Unordered, CanSeek: !s.Start.At.IsZero(), Longest: e.Timeout + time.Minute, Fetcher: program,
	}}, nil
}

func newFeed(list recipe.Feed) (poller.Feed, error) {
	feed := poller.Feed{
		Name: list.Name, Kind: poller.Kind(list.Position), Order: poller.Order(list.Order),
		Timed: list.Time != "", CanSeek: canSeek(list.First), Late: list.Window.Late, Changes: list.Changes.Resource != "",
		Single:  list.Paging.Cursor == "",
		Counted: list.Paging.Cursor == recipe.Page || list.Paging.Cursor == recipe.Offset,
	}
	for _, d := range []struct {
		to   *time.Duration
		key  string
		text string
	}{{&feed.Retain, "retain", list.Retain}, {&feed.Lag, "window.lag", list.Window.Lag}, {&feed.Step, "window.step", list.Window.Step}} {
		var err error
		if d.text == "" {
			continue
		}
		if *d.to, err = recipe.Duration(d.text); err != nil {
			return feed, fmt.Errorf("%s is %q: %w", d.key, d.text, err)
		}
	}
	return feed, nil
}

// canSeek reports whether the first request of a list says where it is to begin.
func canSeek(first map[string]string) bool {
	for _, text := range first {
		if t, err := recipe.ParseTemplate(text); err == nil && slices.Contains(t.Names(), "start") {
			return true
		}
	}
	return false
}
