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

// newFeeds makes the lists of a source, each with the fetcher that asks for it. It asks nobody anything.
func newFeeds(s config.Source) ([]poller.Feed, error) {
	var feeds []poller.Feed
	for _, list := range s.HTTP.Lists(s.Feeds) {
		feed, err := newFeed(s, list)
		if err != nil && list.Name != "" {
			err = fmt.Errorf("feed %s: %w", list.Name, err)
		}
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		feeds = append(feeds, feed)
	}
	return feeds, nil
}

func newFeed(s config.Source, list recipe.Feed) (poller.Feed, error) {
	feed := poller.Feed{
		Name: list.Name, Kind: poller.Kind(list.Position), Order: poller.Order(list.Order),
		CanSeek: canSeek(list.First), Late: list.Window.Late, Changes: list.Changes.Resource != "",
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
	fetcher, err := sources.New(list.HTTP, s.Values, sources.Options{
		Source: s.Name, ExtraQuery: s.ExtraQuery, UserAgent: "tidings/" + version,
	})
	if err != nil {
		return feed, err
	}
	feed.Fetcher = fetcher.Fetcher()
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
