package sources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// Source is the lists of one source. They have in common the values of its parameters, which may change while it runs, and a session
// where they log in alike.
type Source struct {
	lists   []recipe.Feed
	options Options
	reload  func() (map[string]event.Secret, error)

	mu      sync.Mutex // guards what is below
	values  map[string]event.Secret
	now     []*HTTP // of each list, with values
	looked  time.Time
	warning warning
}

// NewSource makes the fetchers of a source's lists, with the values of its parameters. reload, where it is not nil, returns the values as
// the files that they come from have them now: it is asked about once a second while the source is polled, and at once where the API
// refuses the account, which is then asked once more if they have changed. NewSource asks nobody anything.
func NewSource(lists []recipe.Feed, values map[string]event.Secret, reload func() (map[string]event.Secret, error), o Options) (*Source, error) {
	s := &Source{lists: lists, options: o.withDefaults(), reload: reload, values: values, looked: time.Now()}
	var err error
	s.now, err = s.build(values)
	return s, err
}

func (s *Source) build(values map[string]event.Secret) ([]*HTTP, error) {
	var made []*HTTP
	for _, list := range s.lists {
		h, err := New(list.HTTP, values, s.options)
		if err != nil && list.Name != "" {
			err = fmt.Errorf("feed %s: %w", list.Name, err)
		}
		if err != nil {
			return nil, err
		}
		for _, other := range made {
			if other.login != nil && reflect.DeepEqual(other.recipe.Auth, h.recipe.Auth) {
				h.login = other.login
			}
		}
		made = append(made, h)
	}
	return made, nil
}

// Fetchers are those of the lists, in their order. Each is a poller.Seeker only where its recipe says how to seek.
func (s *Source) Fetchers() []poller.Fetcher {
	all := make([]poller.Fetcher, len(s.lists))
	for i, list := range s.lists {
		l := &sourceList{s, i}
		if all[i] = l; list.Seek.URL != "" {
			all[i] = seekingList{l}
		}
	}
	return all
}

// current is the fetcher of a list with the values of now. refused, where it is not nil, is the one that the API has just refused.
func (s *Source) current(list int, refused *HTTP) *HTTP {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := refused != nil && s.now[list] != refused
	if s.reload == nil || known || refused == nil && time.Since(s.looked) < fileEvery {
		return s.now[list]
	}
	s.looked = time.Now()
	values, err := s.reload()
	if err == nil && !maps.Equal(values, s.values) {
		var made []*HTTP
		if made, err = s.build(values); err == nil {
			err = s.sameOrigins(made)
		}
		if err == nil {
			s.values, s.now = values, made
		} else {
			err = fmt.Errorf("the values of its files have changed, and can't be used: %w; the values that it had stay in use", err)
		}
	}
	s.warning.tell(err, s.options.Warn)
	return s.now[list]
}

func (s *Source) sameOrigins(made []*HTTP) error {
	for i, h := range made {
		if h.origin != s.now[i].origin {
			return errors.New("they make url an address of another origin; restart to poll that")
		}
	}
	return nil
}

// warning is what was wrong with files when they were read last; empty where nothing was.
type warning string

// tell passes on what is wrong once, until it is another thing. err may be nil, and so may to.
func (w *warning) tell(err error, to func(error)) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != string(*w) && to != nil {
		to(err)
	}
	*w = warning(text)
}

// withCurrent does something with a list's fetcher, and once more where the API refused the account and the values have changed.
func withCurrent[T any](l *sourceList, do func(*HTTP) (T, error)) (T, error) {
	h := l.source.current(l.index, nil)
	result, err := do(h)
	if fetch, ok := errors.AsType[*poller.FetchError](err); ok && fetch.Health == event.SourceRefused {
		if next := l.source.current(l.index, h); next != h {
			return do(next)
		}
	}
	return result, err
}

// sourceList fetches one list of a source.
type sourceList struct {
	source *Source
	index  int
}

var (
	_ poller.Acker   = (*sourceList)(nil)
	_ poller.Wrapper = (*sourceList)(nil)
	_ poller.Seeker  = seekingList{}
)

func (l *sourceList) Fetch(ctx context.Context, r poller.Request) (event.Page, error) {
	return withCurrent(l, func(h *HTTP) (event.Page, error) { return h.Fetch(ctx, r) })
}

func (l *sourceList) FetchOne(ctx context.Context, id string) (event.Event, error) {
	return withCurrent(l, func(h *HTTP) (event.Event, error) { return h.FetchOne(ctx, id) })
}

func (l *sourceList) Ack(ctx context.Context, cursor string, events []event.Event) error {
	_, err := withCurrent(l, func(h *HTTP) (struct{}, error) { return struct{}{}, h.Ack(ctx, cursor, events) })
	return err
}

func (l *sourceList) Wrap(e *event.Event, change poller.Change) bool {
	return l.source.current(l.index, nil).Wrap(e, change)
}

// seekingList is one whose API gives a cursor for a time.
type seekingList struct{ *sourceList }

func (l seekingList) Seek(ctx context.Context, t time.Time) (string, error) {
	return withCurrent(l.sourceList, func(h *HTTP) (string, error) { return h.Seek(ctx, t) })
}
