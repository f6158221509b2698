package sources

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const proxyRefuses = "the proxy does not take the credentials; check the user and password in proxy, or in HTTPS_PROXY and HTTP_PROXY"

// explain says why a request had no answer, and what to do where that is known.
func explain(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok && (e.Op == "proxyconnect" || strings.HasPrefix(e.Op, "socks")) {
		return fmt.Sprintf("the proxy can't be used: %s; check proxy, or HTTPS_PROXY and HTTP_PROXY", explain(e.Err))
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := "an authority"
		if e.Cert != nil && e.Cert.Issuer.CommonName != "" {
			issuer = fmt.Sprintf("the authority %q", e.Cert.Issuer.CommonName)
		}
		return "the server's certificate is of " + issuer + ", which is not trusted here; if it should be, name the file with its certificate as tls.ca"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		names := e.Certificate.DNSNames
		for _, ip := range e.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		shown := "no name"
		if len(names) > 0 {
			shown = strings.Join(names[:min(len(names), 5)], ", ")
		}
		return fmt.Sprintf("the server's certificate is for %s, and not for %s; check the address", shown, e.Host)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("the server's certificate is valid from %s to %s, and by this machine's clock it is %s; check the clock, and tell whoever runs the server",
			stamp(e.Cert.NotBefore), stamp(e.Cert.NotAfter), stamp(time.Now()))
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Sprintf("the server's certificate can't be trusted: %v", e.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "the server does not speak TLS on this port; check the port, or whether the address begins with http://"
	}
	if why, ok := alert(err); ok {
		switch {
		case strings.Contains(why, "protocol version"):
			return "the server does not speak TLS 1.2 or newer, and nothing older is spoken here"
		case strings.Contains(why, "certificate") || strings.Contains(why, "unknown certificate authority"):
			return fmt.Sprintf("the server does not take our certificate (%s); check tls.cert and tls.key", why)
		}
		return fmt.Sprintf("the server refuses the TLS connection (%s); it may want a certificate of ours, tls.cert and tls.key", why)
	}
	if strings.Contains(err.Error(), "tls: server selected unsupported protocol version") {
		return "the server does not speak TLS 1.2 or newer, and nothing older is spoken here"
	}
	if strings.Contains(err.Error(), "server response headers exceeded") {
		return fmt.Sprintf("the answer's headers are longer than the %d KiB that they may have", maxHeaders>>10)
	}
	return err.Error()
}

// alert is what the server said when it ended a TLS connection.
func alert(err error) (why string, ok bool) {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" && e.Err != nil {
		return strings.TrimPrefix(e.Err.Error(), "tls: "), true
	}
	return "", false
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
