package sources

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"tidings/event"
)

// TransportOptions say how a source's server is reached. The zero value means the system's authorities, no certificate of ours, and the
// proxy of the environment.
type TransportOptions struct {
	Cert, Key string       // files in PEM: our certificate, with what stands between it and its authority, and its private key; both or none
	CA        string       // file in PEM: the authorities that the server's certificate may be of, instead of the system's
	Proxy     event.Secret // http://, https:// or socks5://, with its credentials; "none"; zero: as the environment says
	Warn      func(error)  // told once when the files have changed and can't be used; may be nil
}

const (
	noProxy    = "none"
	fileEvery  = time.Second // how often files are looked at, at the most
	maxPEM     = 1 << 20
	maxHeaders = 256 << 10
	minTLS     = tls.VersionTLS12
	tlsTimeout = 10 * time.Second
)

// Transport sends requests, by TLS 1.2 or newer. It reads its files again when what is in them has changed, and then makes new
// connections. It is safe for use by several goroutines at once.
type Transport struct {
	options TransportOptions
	proxy   func(*http.Request) (*url.URL, error)

	mu      sync.Mutex // guards what is below
	now     *http.Transport
	files   [][]byte // what now was made of
	looked  time.Time
	warning warning
}

var _ http.RoundTripper = (*Transport)(nil)

// NewTransport reads the files. Its errors name the file or the key that is wrong, and nothing of what is in it.
func NewTransport(o TransportOptions) (*Transport, error) {
	t := &Transport{options: o, proxy: environmentProxy}
	switch address := o.Proxy.Reveal(); address {
	case "":
	case noProxy:
		t.proxy = nil
	default:
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" {
			return nil, errors.New("proxy is not the address of a proxy: it is http://, https:// or socks5:// and a host")
		}
		t.proxy = http.ProxyURL(u)
	}
	files, err := t.read()
	if err != nil {
		return nil, err
	}
	t.now, err = t.make(files)
	t.files, t.looked = files, time.Now()
	return t, err
}

func defaultTransport() *Transport {
	t, err := NewTransport(TransportOptions{})
	if err != nil {
		panic(err) // there is no file and no address that could be wrong
	}
	return t
}

// environmentProxy is http.ProxyFromEnvironment, whose error quotes the address, credentials and all.
func environmentProxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("the environment's proxy (HTTPS_PROXY or HTTP_PROXY) is not an address; set it right, or set proxy to none")
	}
	return u, nil
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.current(false).RoundTrip(r)
	if _, refused := alert(err); refused {
		t.current(true) // for the next request, where the files have just changed
	}
	return response, err
}

// CloseIdleConnections closes what no request uses.
func (t *Transport) CloseIdleConnections() { t.current(false).CloseIdleConnections() }

// current is the transport for what the files hold now. What can't be used leaves the one there was.
func (t *Transport) current(look bool) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.options; o.Cert == "" && o.CA == "" || !look && time.Since(t.looked) < fileEvery {
		return t.now
	}
	t.looked = time.Now()
	files, err := t.read()
	if err == nil && !same(files, t.files) {
		var made *http.Transport
		if made, err = t.make(files); err == nil {
			t.now.CloseIdleConnections()
			t.now, t.files = made, files
		}
	}
	if err != nil {
		err = fmt.Errorf("%w; what they held before stays in use", err)
	}
	t.warning.tell(err, t.options.Warn)
	return t.now
}

func same(a, b [][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// read reads the files, in the order of TransportOptions.
func (t *Transport) read() ([][]byte, error) {
	paths := []string{t.options.Cert, t.options.Key, t.options.CA}
	files := make([][]byte, len(paths))
	for i, path := range paths {
		if path == "" {
			continue
		}
		var err error
		if files[i], err = readPEM(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var data []byte
		if data, err = io.ReadAll(io.LimitReader(f, maxPEM+1)); err == nil && len(data) > maxPEM {
			return nil, fmt.Errorf("%s is longer than 1 MiB: it is hardly a file of certificates", path)
		}
		if err == nil {
			return data, nil
		}
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return nil, fmt.Errorf("%s can't be read: %w", path, err)
}

// make makes a transport of what stands in the files.
func (t *Transport) make(files [][]byte) (*http.Transport, error) {
	o := t.options
	config := &tls.Config{MinVersion: minTLS}
	if o.Cert != "" {
		pair, err := tls.X509KeyPair(files[0], files[1])
		if err != nil {
			return nil, fmt.Errorf("%s and %s are no certificate and its private key, both in PEM: %w", o.Cert, o.Key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if o.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(files[2]) {
			return nil, fmt.Errorf("%s has no certificate in PEM", o.CA)
		}
	}
	made := http.DefaultTransport.(*http.Transport).Clone()
	made.TLSClientConfig = config
	made.TLSHandshakeTimeout = tlsTimeout
	made.MaxResponseHeaderBytes = maxHeaders
	made.MaxIdleConnsPerHost = 2
	made.Proxy = t.proxy
	made.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		switch answer.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusProxyAuthRequired:
			return errors.New(proxyRefuses)
		}
		return fmt.Errorf("the proxy does not connect to it: it answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	return made, nil
}

// secrets are the texts of the proxy's address that must not be shown, for requests to u.
func (t *Transport) secrets(u *url.URL) []string {
	if t.proxy == nil {
		return nil
	}
	p, err := t.proxy(&http.Request{URL: u})
	if err != nil || p == nil || p.User == nil {
		return nil
	}
	password, _ := p.User.Password()
	return []string{password, p.User.String(), basic(p.User.Username(), password)}
}
