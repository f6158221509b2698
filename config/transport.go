package config

import (
	"errors"
	"io/fs"
	"net/url"
	"slices"

	"tidings/event"
)

var tlsKeys = []string{"cert", "key", "ca"}

// tls reads by which files a source's server and we prove who we are.
func (d *decoder) tls(v value, s *Source) {
	s.TLS = new(TLS)
	files := map[string]*string{"cert": &s.TLS.Cert, "key": &s.TLS.Key, "ca": &s.TLS.CA}
	t := table{what: "tls"}
	for _, key := range tlsKeys {
		t.fields = append(t.fields, field{key, d.pem(files[key])})
	}
	found := d.object(v, t)
	cert, hasCert := found["cert"]
	key, hasKey := found["key"]
	switch {
	case hasCert && !hasKey:
		d.problemAtKey(cert, "needs key beside it: the certificate's private key")
	case hasKey && !hasCert:
		d.problemAtKey(key, "needs cert beside it: the key's certificate")
	case len(found) == 0 && !d.broken[v.path]:
		d.problemAtKey(v, "is empty: write cert and key, or ca, or remove the key")
	}
}

// pem reads the path of a file that must be there.
func (d *decoder) pem(to *string) func(value) {
	return func(v value) {
		d.path(to)(v)
		if *to == "" {
			return
		}
		switch _, err := d.env.readFile(*to); {
		case errors.Is(err, fs.ErrNotExist):
			d.problem(v, "the file %s does not exist", *to)
		case err != nil:
			d.problem(v, "the file %s can't be read: %s", *to, cause(err))
		}
	}
}

// noProxy is the word for no proxy, whatever the environment says.
const noProxy = "none"

// proxy reads the address of a proxy, which may hold its credentials.
func (d *decoder) proxy(v value, s *Source) {
	const want = "http://, https:// or socks5:// and a host, or none"
	address, ok := d.secret(v, want)
	if !ok {
		return
	}
	u, err := url.Parse(address.Reveal())
	if address.Reveal() != noProxy &&
		(err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme)) {
		d.problem(v, "the value is not the address of a proxy: it is %s", want)
		return
	}
	s.Proxy = event.NewSecret(address.Reveal())
}
