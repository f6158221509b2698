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
	o.Source, o.ExtraQuery, o.UserAgent = s.Name, s.ExtraQuery, "tidings/"+version
	var feeds []poller.Feed
	for _, list := range s.HTTP.Lists(s.Feeds) {
		feed, err := newFeed(s, list, o)
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

func newFeed(s config.Source, list recipe.Feed, o sources.Options) (poller.Feed, error) {
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
	fetcher, err := sources.New(list.HTTP, s.Values, o)
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
