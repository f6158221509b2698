package config

import (
	"encoding/base64"
	"net/textproto"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"tidings/event"
)

// httpSink reads where an http sink posts to, and with what.
func (d *decoder) httpSink(v value, s *Sink) {
	found := d.object(v, d.httpSinkTable(s, s.HTTP))
	d.require(v, found, "url", "http://, https:// or unix:/SOCKET:/PATH")
}

func (d *decoder) httpSinkTable(s *Sink, h *HTTPSink) table {
	return table{what: "an http sink", fields: []field{
		{"url", func(v value) { d.sinkURL(v, s, h) }},
		{"headers", func(v value) { h.Headers = d.headers(v) }},
		{"secret", func(v value) { d.signingSecret(v, h) }},
		{"permanent_statuses", func(v value) { d.statuses(v, h) }},
	}}
}

// userinfo is what stands before the host of a URL and may be a password.
var userinfo = regexp.MustCompile(`//[^/?]*@`)

// sinkURL reads http://…, https://…, or unix:/SOCKET:/PATH.
func (d *decoder) sinkURL(v value, s *Sink, h *HTTPSink) {
	const want = "http://HOST/PATH, https://HOST/PATH or unix:/SOCKET:/PATH"
	text, ok := d.scalar(v, want)
	if !ok {
		return
	}
	h.URL = event.NewSecret(text.text)
	s.Target, _, _ = strings.Cut(userinfo.ReplaceAllString(text.written, "//"), "?")
	if text.interpolated {
		h.Shown, h.Hide = s.Target, text.outside
	}
	name := s.Target // without what may be secret in it
	if rest, unix := strings.CutPrefix(text.text, "unix:"); unix {
		socket, _, found := strings.Cut(rest, ":/")
		if !found || !filepath.IsAbs(socket) {
			d.problem(v, "is %q, and must be unix:, the absolute path of a socket, a colon, and a path (unix:/run/app.sock:/webhooks)", name)
		} else if len(socket) > maxSocket {
			d.problem(v, "has the path of a socket in it with %d bytes, and the system takes %d: write a shorter one", len(socket), maxSocket)
		}
		return
	}
	u, err := url.Parse(text.text)
	switch {
	case (err != nil || u.Hostname() == "") && strings.Contains(text.text, "@"): // what of it is a password can't be told
		d.problem(v, "can't be read: it must be %s, and a user or password in it have %%40 for @, %%2F for / and so on", want)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		d.problem(v, "is %q, and must be %s", name, want)
	case !validPort(u.Port()):
		d.problem(v, "is %q with a port that is none: write a number from 1 to 65535", name)
	case u.Fragment != "":
		d.problem(v, "is %q with a # part, which is never sent: remove it", name)
	}
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// ownHeaders are those that the sink or the connection sets.
var ownHeaders = map[string]string{
	"Content-Type":      "follows from format",
	"Content-Length":    "follows from the event",
	"Host":              "follows from url",
	"User-Agent":        "is tidings/VERSION",
	"Traceparent":       "is made for each attempt",
	"Connection":        "belongs to the connection",
	"Keep-Alive":        "belongs to the connection",
	"Transfer-Encoding": "belongs to the connection",
	"Te":                "belongs to the connection",
	"Trailer":           "belongs to the connection",
	"Upgrade":           "belongs to the connection",
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$") // RFC 9110, 5.6.2

// headers reads the headers that a user adds to each request.
func (d *decoder) headers(v value) map[string]event.Secret {
	headers := map[string]event.Secret{}
	seen := map[string]bool{}
	for _, e := range d.entries(v) {
		name := textproto.CanonicalMIMEHeaderKey(e.key)
		secret, ok := d.secret(e.value, "the header's value")
		headers[e.key] = secret
		switch {
		case !headerName.MatchString(e.key):
			d.problemAtKey(e.value, "can't be the name of a header: it has letters, digits and -")
		case seen[name]:
			d.problemAtKey(e.value, "stands twice, in upper and lower case: remove one")
		case strings.HasPrefix(name, "Webhook-") || strings.HasPrefix(name, "Tidings-"):
			d.problemAtKey(e.value, "is set by the sink itself for each event: remove it")
		case ownHeaders[name] != "":
			d.problemAtKey(e.value, "can't be set: it %s", ownHeaders[name])
		case ok && strings.ContainsFunc(secret.Reveal(), unicode.IsControl):
			d.problem(e.value, "has a line break or another control character, which a header can't have: remove it")
		}
		seen[name] = true
	}
	return headers
}

// signingSecret reads a secret of Standard Webhooks: whsec_ and the base64 of 24 to 64 bytes.
func (d *decoder) signingSecret(v value, h *HTTPSink) {
	const want = "whsec_ and the base64 of 24 to 64 random bytes"
	secret, ok := d.secret(v, want)
	if !ok {
		return
	}
	encoded, prefixed := strings.CutPrefix(secret.Reveal(), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case !prefixed:
		d.problem(v, "does not begin with whsec_: it must be %s", want)
	case err != nil || strings.ContainsAny(encoded, "\r\n"):
		d.problem(v, "is not base64 after whsec_: it must be %s", want)
	case len(key) < 24 || len(key) > 64:
		d.problem(v, "has %d bytes in base64 after whsec_: it must be %s", len(key), want)
	default:
		h.Secret = secret
	}
}

// statuses reads the answers that make a dead letter at once. What means something else already can't be one of them.
func (d *decoder) statuses(v value, h *HTTPSink) {
	for _, item := range d.items(v) {
		status := 0
		d.integer(&status, 300, 599)(item)
		switch {
		case status == 410:
			d.problem(item, "is 410, which pauses the sink and loses nothing: remove it")
		case status == 429 || status == 503:
			d.problem(item, "is %d, by which a server asks to be asked again later: remove it", status)
		case slices.Contains(h.PermanentStatuses, status):
			d.problem(item, "is %d, which stands in the list already: remove it", status)
		case status != 0:
			h.PermanentStatuses = append(h.PermanentStatuses, status)
		}
	}
}
