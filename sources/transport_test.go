package sources

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/event"
	"tidings/poller"
	"tidings/recipe"
)

// authority is a CA of a test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials int64

func certificate(t *testing.T, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serials++
	template.SerialNumber = big.NewInt(serials)
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert, key
}

func newAuthority(t *testing.T, name string) *authority {
	cert, key := certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return &authority{cert, key}
}

// issue writes a certificate and its key as PEM files into dir.
func (a *authority) issue(t *testing.T, dir, name string, template *x509.Certificate) (cert, key string) {
	t.Helper()
	template.Subject = pkix.Name{CommonName: name}
	made, private := certificate(t, template, a)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Raw})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return cert, key
}

func (a *authority) file(t *testing.T, dir string) string {
	path := filepath.Join(dir, a.cert.Subject.CommonName+".pem")
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
	return path
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// tlsServer answers with the name in the client's certificate as an event's id.
func (a *authority) tlsServer(t *testing.T, template *x509.Certificate, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	cert, key := a.issue(t, dir, "server", template)
	pair, err := tls.LoadX509KeyPair(cert, key)
	check(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		io.WriteString(w, `[{"id":"`+name+`"}]`)
	}))
	s.Config.ErrorLog = quiet
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func localhost() *x509.Certificate {
	return &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

func clientCert() *x509.Certificate {
	return &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// reach asks an address and returns the id of the event that is listed there.
func reach(t *testing.T, transport http.RoundTripper, address string) (string, error) {
	t.Helper()
	h, err := New(recipe.HTTP{URL: address, ID: "id", Position: recipe.HeadWalk, Auth: recipe.Auth{Bearer: "{token}"}},
		map[string]event.Secret{"token": event.NewSecret("token-1")}, Options{Transport: transport})
	check(t, err)
	page, err := h.Fetch(t.Context(), poller.Request{})
	if err != nil {
		return "", err
	}
	return page.Events[0].ID, nil
}

func newTransport(t *testing.T, o TransportOptions) *Transport {
	t.Helper()
	transport, err := NewTransport(o)
	check(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestServersThatAreNotTrusted(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	expired, named := localhost(), &x509.Certificate{DNSNames: []string{"api.example.com"}}
	expired.NotBefore, expired.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	ca := ours.file(t, t.TempDir())
	for name, test := range map[string]struct {
		address string
		ca      string
		want    []string // parts of the error; none: success
	}{
		"own authority":     {ours.tlsServer(t, localhost(), nil).URL, ca, nil},
		"unknown authority": {theirs.tlsServer(t, localhost(), nil).URL, ca, []string{`of the authority "theirs", which is not trusted here`, "tls.ca"}},
		"system's":          {ours.tlsServer(t, localhost(), nil).URL, "", []string{"not trusted here", "tls.ca"}},
		"wrong name":        {ours.tlsServer(t, named, nil).URL, ca, []string{"is for api.example.com, and not for 127.0.0.1", "check the address"}},
		"expired":           {ours.tlsServer(t, expired, nil).URL, ca, []string{"is valid from", "by this machine's clock", "check the clock"}},
		"old TLS": {ours.tlsServer(t, localhost(), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }).URL, ca,
			[]string{"does not speak TLS 1.2 or newer"}},
		"no TLS": {strings.Replace(plain.URL, "http:", "https:", 1), ca, []string{"does not speak TLS on this port", "http://"}},
		"wants a certificate": {ours.tlsServer(t, localhost(), func(c *tls.Config) { c.ClientAuth = tls.RequireAndVerifyClientCert }).URL, ca,
			[]string{"does not take our certificate", "tls.cert and tls.key"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := reach(t, newTransport(t, TransportOptions{CA: test.ca}), test.address)
			if (err == nil) != (len(test.want) == 0) {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %s", err, want)
				}
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "GET "+test.address) || fetchError(t, err).Health != event.SourceFailing) {
				t.Error(err)
			}
		})
	}
}

func TestClientCertificateIsReadAgain(t *testing.T) {
	ours := newAuthority(t, "ours")
	dir := t.TempDir()
	cert, key := ours.issue(t, dir, "client", clientCert())
	server := ours.tlsServer(t, localhost(), func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ours.pool() })
	var warnings []string
	transport := newTransport(t, TransportOptions{Cert: cert, Key: key, CA: ours.file(t, dir), Warn: func(err error) { warnings = append(warnings, err.Error()) }})
	look := func(want string) {
		t.Helper()
		transport.mu.Lock()
		transport.looked = time.Time{} // a second ago
		transport.mu.Unlock()
		if got, err := reach(t, transport, server.URL); got != want {
			t.Errorf("the server sees %q, %v; want %q", got, err, want)
		}
	}
	look("client")
	newCert, newKey := ours.issue(t, dir, "renewed", clientCert())
	check(t, os.Rename(newCert, cert)) // the key follows: between them the two don't fit
	look("client")
	look("client")
	if len(warnings) != 1 || !strings.Contains(warnings[0], "no certificate and its private key") || !strings.Contains(warnings[0], "stays in use") {
		t.Errorf("warnings: %q", warnings)
	}
	check(t, os.Rename(newKey, key))
	look("renewed")
	check(t, os.Remove(cert))
	look("renewed")
	if len(warnings) != 2 || !strings.Contains(warnings[1], cert+" can't be read: no such file") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestFilesThatAreNoCertificates(t *testing.T) {
	ours := newAuthority(t, "ours")
	dir := t.TempDir()
	cert, key := ours.issue(t, dir, "client", clientCert())
	empty := filepath.Join(dir, "empty")
	write(t, empty, "")
	for _, test := range []struct {
		o    TransportOptions
		want string
	}{
		{TransportOptions{Cert: cert, Key: empty}, empty + " are no certificate and its private key"},
		{TransportOptions{Cert: key, Key: key}, "are no certificate and its private key"},
		{TransportOptions{CA: empty}, empty + " has no certificate in PEM"},
		{TransportOptions{CA: filepath.Join(dir, "nowhere")}, "nowhere can't be read: no such file or directory"},
		{TransportOptions{Proxy: event.NewSecret("http://user:pass%zz@x")}, "proxy is not the address of a proxy"},
	} {
		if _, err := NewTransport(test.o); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "pass") {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
