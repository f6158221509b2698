package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// guarded starts an API for a script: `guarded [tls]`. It lists what stands in events.json, to who sends the token that stands in
// accepted, and its address is $API. With tls it wants a client certificate; ca.pem, client.pem and client.key are made for that.
func guarded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 || len(args) == 1 && args[0] != "tls" {
		ts.Fatalf("usage: guarded [tls]")
	}
	read := func(name string) string {
		data, err := os.ReadFile(ts.MkAbs(name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data))
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+read("accepted") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(read("events.json")))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that are to fail
	if len(args) == 0 {
		server.Start()
	} else {
		server.TLS = certificates(ts)
		server.StartTLS()
	}
	ts.Defer(server.Close)
	ts.Setenv("API", server.URL)
}

// certificates makes an authority, a server's certificate and a client's.
func certificates(ts *testscript.TestScript) *tls.Config {
	write := func(name, kind string, der []byte) {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	issue := func(n int64, name string, by *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: by == nil, BasicConstraintsValid: true,
		}
		if by == nil {
			by, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
		ts.Check(err)
		cert, err := x509.ParseCertificate(der)
		ts.Check(err)
		return cert, key
	}
	ca, caKey := issue(1, "authority", nil, nil)
	server, serverKey := issue(2, "server", ca, caKey)
	client, clientKey := issue(3, "client", ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(clientKey)
	ts.Check(err)
	write("ca.pem", "CERTIFICATE", ca.Raw)
	write("client.pem", "CERTIFICATE", client.Raw)
	write("client.key", "PRIVATE KEY", der)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: serverKey}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
}
