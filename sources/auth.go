package sources

import (
	"context"
	"time"
)

const maxTokenLife = 365 * 24 * time.Hour

// session is a bearer token that a login or an OAuth2 server gave. Who holds the lock reads and renews it, so that all who need a token
// wait for one exchange; it is a channel so that they can also stop waiting. Lists of one source that prove themselves alike share one.
type session struct {
	what string                                                              // the exchange, in a text that may be shown
	ask  func(context.Context) (token string, life time.Duration, err error) // life is 0 where the token is good until it is refused
	lock chan struct{}

	token string
	renew time.Time // by the monotonic clock; zero when the token is good until it is refused
}

func newSession(what string, ask func(context.Context) (string, time.Duration, error)) *session {
	return &session{what: what, ask: ask, lock: make(chan struct{}, 1)}
}

// get returns a token other than the one that was refused, asking for one where there is none or where most of its life is over.
func (s *session) get(ctx context.Context, refused string) (string, error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return "", failing("%s was given up: %w", s.what, ctx.Err())
	}
	if s.token != "" && s.token != refused && (s.renew.IsZero() || time.Now().Before(s.renew)) {
		return s.token, nil
	}
	s.token = ""
	asked := time.Now()
	token, life, err := s.ask(ctx)
	if err != nil {
		return "", err
	}
	s.token, s.renew = token, time.Time{}
	if life > 0 {
		s.renew = asked.Add(min(life, maxTokenLife) * 4 / 5)
	}
	return s.token, nil
}
