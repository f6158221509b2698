package recipe

import (
	"net/url"
	"strings"
)

// origin returns scheme and host of a URL's template as far as they are literal; whole says whether they all are. The literal is
// empty where there is no such address.
func origin(text string) (literal string, whole bool) {
	t, err := ParseTemplate(text)
	if err != nil || len(t.parts) == 0 {
		return "", false
	}
	if t.parts[0].name {
		return "", false
	}
	first := t.parts[0].text
	rest := strings.TrimPrefix(strings.TrimPrefix(first, "https://"), "http://")
	if len(t.parts) > 1 && !strings.ContainsAny(rest, "/?") { // a parameter is a part of the host
		return first, false
	}
	u, err := url.Parse(first)
	if err != nil || u.Host == "" {
		return "", true
	}
	return Origin(u), true
}

// Origin is a URL's scheme, host and port in one form, the port of its scheme filled in: what credentials are bound to.
func Origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
