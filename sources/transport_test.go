package sources

import (
	"bufio"
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
	"sync"
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

// proxy is a real one for http and CONNECT that wants a user and a password.
func newProxy(t *testing.T, want string) (address string, asked func() []string) {
	var mu sync.Mutex
	var hosts []string
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != want {
			w.WriteHeader(http.StatusProxyAuthRequired)
			io.WriteString(w, r.Header.Get("Proxy-Authorization"))
			return
		}
		mu.Lock()
		hosts = append(hosts, r.Method+" "+r.URL.Host)
		mu.Unlock()
		if r.Method != http.MethodConnect {
			io.WriteString(w, `[{"id":"by the proxy"}]`)
			return
		}
		to, err := net.Dial("tcp", r.URL.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		from, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		relay(from, buffered.Reader, to)
	}))
	p.Config.ErrorLog = quiet
	t.Cleanup(p.Close)
	return strings.TrimPrefix(p.URL, "http://"), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return hosts
	}
}

// relay passes on what either side says, until both have ended.
func relay(from net.Conn, read io.Reader, to net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(to, read); _ = to.Close() })
	wg.Go(func() { _, _ = io.Copy(from, to); _ = from.Close() })
	wg.Wait()
}

// behindTLS is an address that passes on to another, by TLS with a certificate of a's.
func (a *authority) behindTLS(t *testing.T, address string) string {
	t.Helper()
	cert, key := a.issue(t, t.TempDir(), "proxy", localhost())
	pair, err := tls.LoadX509KeyPair(cert, key)
	check(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	check(t, err)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	wg.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = from.Close()
				continue
			}
			wg.Go(func() { relay(from, from, to) })
		}
	})
	return listener.Addr().String()
}

func TestHTTPProxy(t *testing.T) {
	for _, scheme := range []string{"http://", "https://"} {
		t.Run(scheme, func(t *testing.T) { testProxy(t, scheme) })
	}
}

func testProxy(t *testing.T, scheme string) {
	ours := newAuthority(t, "ours")
	server := ours.tlsServer(t, localhost(), nil)
	ca := ours.file(t, t.TempDir())
	const password = "pr0xy:p/ss"
	proxy, asked := newProxy(t, "Basic "+basic("me", password))
	if scheme == "https://" {
		proxy = ours.behindTLS(t, proxy)
		alien := newTransport(t, TransportOptions{CA: newAuthority(t, "alien").file(t, t.TempDir()), Proxy: event.NewSecret(scheme + "me:s3cret@" + proxy)})
		if _, err := reach(t, alien, server.URL); err == nil || !strings.Contains(err.Error(), "the proxy can't be used: the server's certificate") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v", err)
		}
	}
	through := func(userinfo, address string) (string, error) {
		return reach(t, newTransport(t, TransportOptions{CA: ca, Proxy: event.NewSecret(scheme + userinfo + proxy)}), address)
	}
	if id, err := through("me:pr0xy%3Ap%2Fss@", server.URL); err != nil || id != "nobody" {
		t.Errorf("got %q, %v", id, err)
	}
	if id, err := through("me:pr0xy%3Ap%2Fss@", "http://api.example.com/events"); err != nil || id != "by the proxy" {
		t.Errorf("got %q, %v", id, err)
	}
	if got := strings.Join(asked(), ", "); got != "CONNECT "+strings.TrimPrefix(server.URL, "https://")+", GET api.example.com" {
		t.Errorf("the proxy was asked for %s", got)
	}
	for _, address := range []string{server.URL, "http://api.example.com/events"} {
		_, err := through("me:wr0ng-passw0rd@", address)
		if err == nil || !strings.Contains(err.Error(), "the proxy does not take the credentials") {
			t.Errorf("%s: %v", address, err)
		} else if strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), basic("me", "wr0ng-passw0rd")) {
			t.Errorf("a secret is in %v", err)
		}
	}
	if _, err := through("me:pr0xy%3Ap%2Fss@", "https://127.0.0.1:1/"); err == nil || !strings.Contains(err.Error(), "the proxy does not connect to it: it answered 502 Bad Gateway") {
		t.Errorf("got %v", err)
	}
	none := newTransport(t, TransportOptions{CA: ca, Proxy: event.NewSecret(scheme + "me:s3cret@127.0.0.1:1")})
	if _, err := reach(t, none, server.URL); err == nil || !strings.Contains(err.Error(), "the proxy can't be used") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

// TestSOCKSProxy speaks as much of RFC 1928 and 1929 as a client needs.
func TestSOCKSProxy(t *testing.T) {
	ours := newAuthority(t, "ours")
	server := ours.tlsServer(t, localhost(), nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer listener.Close()
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { socks(conn, "me", "s3cret") })
		}
	})
	through := func(password string) (string, error) {
		transport := newTransport(t, TransportOptions{CA: ours.file(t, t.TempDir()), Proxy: event.NewSecret("socks5://me:" + password + "@" + listener.Addr().String())})
		defer transport.CloseIdleConnections()
		return reach(t, transport, server.URL)
	}
	if id, err := through("s3cret"); err != nil || id != "nobody" {
		t.Errorf("got %q, %v", id, err)
	}
	if _, err := through("wr0ng"); err == nil || !strings.Contains(err.Error(), "the proxy can't be used: username/password authentication failed") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("got %v", err)
	}
}

func socks(conn net.Conn, user, password string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	take := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(in, b)
		return b
	}
	take(int(take(2)[1]))
	_, _ = conn.Write([]byte{5, 2})
	gotUser := string(take(int(take(2)[1])))
	if gotPassword := string(take(int(take(1)[0]))); gotUser != user || gotPassword != password {
		_, _ = conn.Write([]byte{1, 1})
		return
	}
	_, _ = conn.Write([]byte{1, 0})
	head := take(4) // version, command, reserved, IPv4
	if head[3] != 1 {
		return
	}
	ip, port := net.IP(take(4)), take(2)
	to, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: ip, Port: int(port[0])<<8 | int(port[1])})
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	relay(conn, in, to)
}

// An environment's proxy that is no address is told without its password.
func TestEnvironmentProxyThatIsNoAddress(t *testing.T) {
	if os.Getenv("TIDINGS_TEST_PROXY") == "" {
		runAgain(t, "TIDINGS_TEST_PROXY=1", "HTTPS_PROXY=http://me:s3cret@x:port") // the environment is read once a process
		return
	}
	_, err := reach(t, newTransport(t, TransportOptions{}), "https://api.example.com")
	if err == nil || !strings.Contains(err.Error(), "HTTPS_PROXY") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}
