package sources

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"tidings/recipe"
)

const maxLoginBody = 1 << 20

// newLogin makes the session whose tokens a login of the vendor's own making gives.
func (h *HTTP) newLogin(l recipe.Login) (*session, error) {
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
	method := cmp.Or(l.Method, http.MethodGet)
	r := request{
		method: method, url: u, header: header, what: method + " " + h.shown(u), timeout: h.options.LoginTimeout, max: maxLoginBody,
		private: true, instead: tokenAnswer(l.Token),
	}
	return newSession(r.what, func(ctx context.Context) (string, time.Duration, error) { return h.logIn(ctx, l, r) }), nil
}

func (h *HTTP) logIn(ctx context.Context, l recipe.Login, r request) (token string, life time.Duration, err error) {
	a, err := h.ask(ctx, r)
	if err != nil {
		return "", 0, err
	}
	if err := h.judge(a); err != nil {
		return "", 0, err
	}
	if a.over {
		return "", 0, a.tooLarge(maxLoginBody)
	}
	body, err := parse(a.body)
	if err != nil {
		return "", 0, a.unreadable(err)
	}
	token = text(body.Get(l.Token))
	if token == "" || hasControl(token) {
		return "", 0, a.unreadable(fmt.Errorf("has no token at %s", l.Token))
	}
	if l.ExpiresIn != "" {
		// Only for when to log in again, so a float does no harm; what is no number leaves it to a 401.
		if s, err := strconv.ParseFloat(text(body.Get(l.ExpiresIn)), 64); err == nil && s > 0 {
			life = time.Duration(min(s, maxTokenLife.Seconds()) * float64(time.Second))
		}
	}
	return token, life, nil
}
