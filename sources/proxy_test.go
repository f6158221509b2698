package sources

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"tidings/event"
)

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
