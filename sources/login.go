package sources

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"tidings/recipe"
)

const (
	maxLoginBody = 1 << 20
	maxTokenLife = 365 * 24 * time.Hour
)

// session is the bearer token that a login gave. Who holds the lock reads and renews it, so that all who need a token wait for one
// login; it is a channel so that they can also stop waiting.
type session struct {
	recipe  recipe.Login
	request request
	lock    chan struct{}
	token   string
	renew   time.Time // by the monotonic clock; zero when the token is good until it is refused
}

func (h *HTTP) newSession(l recipe.Login) (*session, error) {
	u, err := h.expandURL("auth.login.url", l.URL, h.lookup)
	if err != nil {
		return nil, err
	}
	header := h.header.Clone()
	if l.Basic != nil {
		value, err := h.basic("auth.login.basic", l.Basic)
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", value)
	}
	method := methodOr(l.Method)
	return &session{recipe: l, lock: make(chan struct{}, 1), request: request{
		method: method, url: u, header: header, what: method + " " + h.shown(u), timeout: h.options.LoginTimeout, max: maxLoginBody,
		private: true,
	}}, nil
}

// token returns a bearer token other than the one that was refused, logging in where there is none or where most of its life is
// over.
func (h *HTTP) token(ctx context.Context, refused string) (string, error) {
	s := h.login
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return "", failing("%s was given up: %w", s.request.what, ctx.Err())
	}
	if s.token != "" && s.token != refused && (s.renew.IsZero() || time.Now().Before(s.renew)) {
		return s.token, nil
	}
	s.token = ""
	asked := time.Now()
	a, err := h.ask(ctx, s.request)
	if err != nil {
		return "", err
	}
	if err := h.judge(a); err != nil {
		return "", err
	}
	if a.over {
		return "", a.tooLarge(maxLoginBody)
	}
	body, err := parse(a.body)
	if err != nil {
		return "", a.unreadable(err)
	}
	token := text(body.Get(s.recipe.Token))
	if token == "" || hasControl(token) {
		return "", a.unreadable(fmt.Errorf("has no token at %s", s.recipe.Token))
	}
	s.token, s.renew = token, time.Time{}
	if s.recipe.ExpiresIn != "" {
		// Only for when to log in again, so a float does no harm; what is no number leaves it to a 401.
		if life, err := strconv.ParseFloat(text(body.Get(s.recipe.ExpiresIn)), 64); err == nil && life > 0 {
			s.renew = asked.Add(time.Duration(min(life, maxTokenLife.Seconds()) * 0.8 * float64(time.Second)))
		}
	}
	return s.token, nil
}
