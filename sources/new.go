package sources

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// New makes the fetcher of a recipe, with the values of its parameters. It asks nobody anything; its errors name the part of the
// recipe that they are about, and no value.
func New(r recipe.HTTP, values map[string]event.Secret, o Options) (*HTTP, error) {
	if problems := r.Problems(); len(problems) > 0 {
		return nil, fmt.Errorf("%s %s", problems[0].Path, problems[0].Text)
	}
	h := &HTTP{recipe: r, options: o.withDefaults(), values: values}
	h.client = &http.Client{Transport: h.options.Transport, CheckRedirect: h.checkRedirect}
	var err error
	if h.list, err = newLister(h.options.Source, r); err != nil {
		return nil, err
	}
	h.list.max = 4 * h.options.MaxBody
	h.events = h.listing()
	sample := poller.Request{Cursor: "1", From: time.Now(), Since: time.Now(), Until: time.Now()}
	if h.url, err = h.expandURL("url", r.URL, h.fill(&h.events, sample, "1")); err != nil {
		return nil, err
	}
	h.origin = recipe.Origin(h.url)
	h.veil = newVeil(h.secrets()...)
	if err := h.setHeader(); err != nil {
		return nil, err
	}
	sample.Cursor = ""
	if _, err := h.build(&h.events, sample, "1", 1); err != nil {
		return nil, err
	}
	if r.ForEach != nil {
		h.each = h.newValues(*r.ForEach)
		if _, err := h.build(&h.each.listing, poller.Request{}, "1", 1); err != nil {
			return nil, err
		}
	}
	if r.Changes.Created != "" || r.Changes.Updated != "" || r.Changes.Deleted != "" {
		if h.types, err = newChanges(r.Changes); err != nil {
			return nil, err
		}
	}
	if r.Ack.URL != "" {
		if _, err := h.acknowledgement("", []string{"1"}); err != nil {
			return nil, err
		}
	}
	if r.Seek.URL != "" {
		if _, err := h.seek(time.Now()); err != nil {
			return nil, err
		}
	}
	switch {
	case r.Auth.Login != nil:
		h.login, err = h.newLogin(*r.Auth.Login)
	case r.Auth.OAuth2 != nil:
		h.login, err = h.newOAuth2(*r.Auth.OAuth2)
	}
	if err != nil {
		return nil, err
	}
	h.budget = h.options.Budgets.share(h.credential(), r.Limits)
	if r.FetchOne != "" {
		if _, err := h.one("id"); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// lookup gives a parameter's value; an empty one is none.
func (h *HTTP) lookup(name string) (string, bool) {
	v := h.values[name]
	return v.Reveal(), !v.IsZero()
}

// secrets lists every text that must not be shown. Any value may be one, unless Options.Open says otherwise: a recipe does not say which.
func (h *HTTP) secrets() []string {
	var texts []string
	for name, v := range h.values {
		if !slices.Contains(h.options.Open, name) {
			texts = append(texts, v.Reveal())
		}
	}
	if password, ok := h.url.User.Password(); ok {
		texts = append(texts, password, basic(h.url.User.Username(), password))
	}
	if t, ok := h.options.Transport.(*Transport); ok {
		texts = append(texts, t.secrets(h.url)...)
	}
	return append(texts, h.literals()...)
}

// minLiteral is how long a text in the recipe is that may be a credential; true and 2026-01 are none.
const minLiteral = 8

// literals are the texts that stand in the recipe itself where credentials do, with and without a scheme in front.
func (h *HTTP) literals() []string {
	var texts []string
	add := func(key, text string) {
		if !recipe.Credential(key) {
			return
		}
		for _, text := range []string{text, text[strings.LastIndexByte(text, ' ')+1:]} {
			if len(text) >= minLiteral {
				texts = append(texts, text)
			}
		}
	}
	sections := []map[string]string{h.recipe.Headers, h.recipe.Query, h.recipe.First}
	if e := h.recipe.ForEach; e != nil {
		sections = append(sections, e.Query)
	}
	for _, section := range sections {
		for key, template := range section {
			if text, err := h.expand(key, template); err == nil {
				add(key, text)
			}
		}
	}
	for key, values := range h.url.Query() {
		for _, text := range values {
			add(key, text)
		}
	}
	return texts
}

// expand puts the parameters' values into the recipe's template at path.
func (h *HTTP) expand(path, text string) (string, error) { return expand(path, text, h.lookup) }

func expand(path, text string, find lookup) (string, error) {
	t, err := recipe.ParseTemplate(text)
	if err != nil {
		return "", fmt.Errorf("%s %w", path, err)
	}
	s, err := t.Expand(find)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// expandURL does so for a URL, which has to be of the origin that credentials go to.
func (h *HTTP) expandURL(path, text string, find lookup) (*url.URL, error) {
	u, err := expandAddress(path, text, find)
	if err == nil && h.origin != "" && recipe.Origin(u) != h.origin {
		return nil, fmt.Errorf("%s is of another origin than url; credentials go to one origin only", path)
	}
	return u, err
}

// expandAddress does so for a URL of any origin.
func expandAddress(path, text string, find lookup) (*url.URL, error) {
	t, err := recipe.ParseTemplate(text)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	s, err := t.ExpandURL(find)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s, its values put in, is not an address: want https:// or http://, a host, a path, and no # part", path)
	}
	return u, nil
}

// addQuery leaves what is in the URL as it stands.
func addQuery(u *url.URL, query url.Values) {
	if len(query) == 0 {
		return
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += query.Encode()
}

func (h *HTTP) setHeader() error {
	h.header = http.Header{"Accept": {"application/json"}, "User-Agent": {h.options.UserAgent}}
	for key, text := range h.recipe.Headers {
		value, err := h.expand("headers."+key, text)
		if _, missing := errors.AsType[*recipe.MissingError](err); missing {
			continue
		}
		if err != nil {
			return err
		}
		if err := setHeader(h.header, "headers."+key, key, value); err != nil {
			return err
		}
	}
	switch auth := h.recipe.Auth; {
	case auth.Bearer != "":
		token, err := h.expand("auth.bearer", auth.Bearer)
		if err != nil {
			return err
		}
		h.veil = h.veil.with(token) // it may stand in the recipe itself
		return setHeader(h.header, "auth.bearer", "Authorization", "Bearer "+token)
	case auth.Basic != nil:
		value, err := h.basic("auth.basic", auth.Basic)
		if err != nil {
			return err
		}
		h.header.Set("Authorization", value)
	case auth.Header != nil:
		value, err := h.expand("auth.header.value", auth.Header.Value)
		if err != nil {
			return err
		}
		h.veil = h.veil.with(value, value[strings.LastIndexByte(value, ' ')+1:]) // with and without a scheme in front
		return setHeader(h.header, "auth.header.value", auth.Header.Name, value)
	}
	return nil
}

func setHeader(header http.Header, path, key, value string) error {
	if hasControl(value) {
		return fmt.Errorf("%s: the value has a line break or another control character; look for one at the end of the secret", path)
	}
	header.Set(key, value)
	return nil
}

// basic gives the Authorization header of HTTP Basic, and takes note of it as a secret.
func (h *HTTP) basic(path string, b *recipe.Basic) (string, error) {
	user, err := h.expand(path+".user", b.User)
	if err != nil {
		return "", err
	}
	password, err := h.expand(path+".password", b.Password)
	if err != nil {
		return "", err
	}
	if hasControl(user + password) {
		return "", fmt.Errorf("%s: a value has a line break or another control character; look for one at the end of the secret", path)
	}
	if strings.Contains(user, ":") {
		return "", fmt.Errorf("%s.user: the value has a colon, which a user's name can't have (RFC 7617)", path)
	}
	encoded := basic(user, password)
	h.veil = h.veil.with(encoded, password)
	return "Basic " + encoded, nil
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}
