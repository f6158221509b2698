package sinks

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"tidings/dispatch"
	"tidings/event"
)

func TestHTTPHidesSecrets(t *testing.T) {
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		user, password, _ := r.BasicAuth()
		_, _ = io.WriteString(w, user+" "+password+" "+r.URL.RawQuery+" "+r.Header.Get("X-Key"))
	})
	h := newHTTP(t, HTTPOptions{
		URL:     strings.Replace(url, "http://", "http://me:passw0rd@", 1) + "/p?token=qu3ry",
		Headers: map[string]event.Secret{"X-Key": event.NewSecret("k3yk3y")},
	})
	r := want(t, h.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if all := r.Reason + r.Answer; strings.Contains(all, "passw0rd") || strings.Contains(all, "qu3ry") || strings.Contains(all, "k3yk3y") || !strings.Contains(r.Answer, "me ") {
		t.Errorf("%+v", r)
	}
	if !strings.HasPrefix(r.Reason, "POST "+url+"/p answered 500") {
		t.Errorf("reason %s", r.Reason)
	}
}

// A receiver that quotes the request, a debugging one for instance, quotes what it was sent: encoded, and not what it stands for.
func TestHTTPHidesSecretsAsTheyAreSent(t *testing.T) {
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		_, _ = io.WriteString(w, r.RequestURI+" "+r.Header.Get("Authorization")+" key "+strings.TrimPrefix(secretText, "whsec_"))
	})
	h := newHTTP(t, HTTPOptions{
		URL:     strings.Replace(url, "http://", "http://me:p%40ssw0rd@", 1) + "/p?token=qu3ry%2fwith%2b&other=bad%zzqu3ry&qu3ryalone",
		Secrets: []event.Secret{event.NewSecret(secretText)},
	})
	r := want(t, h.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if r.Answer != "/p?token=[redacted]&other=[redacted]&[redacted] Basic [redacted] key [redacted]" {
		t.Errorf("%+v", r)
	}
	h = newHTTP(t, HTTPOptions{URL: strings.Replace(url, "http://", "http://t0ken@", 1) + "/t0ken"})
	if r := want(t, h.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry); !strings.HasPrefix(r.Answer, "/[redacted] Basic [redacted] ") {
		t.Errorf("%+v", r)
	}
}

func TestHTTPHidesWhatStandsInThePath(t *testing.T) {
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		_, _ = io.WriteString(w, "no "+r.URL.Path+", no h00k")
	})
	o := HTTPOptions{URL: url + "/hooks/h00k", Shown: "http://app/hooks/${env:X}", Hide: []event.Secret{event.NewSecret("h00k")}}
	r := want(t, newHTTP(t, o).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if r.Reason != "POST http://app/hooks/${env:X} answered 404 Not Found" || strings.Contains(r.Answer, "h00k") {
		t.Errorf("%+v", r)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	o.URL = "http://" + free.Addr().String() + "/hooks/h00k"
	r = want(t, newHTTP(t, o).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if r.Reason != "POST http://app/hooks/${env:X}: connection refused; is the receiver running?" {
		t.Errorf("reason %s", r.Reason)
	}
}

func TestHTTPHidesASecretThatBeginsLikeAnother(t *testing.T) {
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		_, _ = io.WriteString(w, r.Header.Get("B"))
	})
	for range 10 {
		h := newHTTP(t, HTTPOptions{URL: url, Headers: map[string]event.Secret{"A": event.NewSecret("abcd"), "B": event.NewSecret("abcdefgh")}})
		if r := want(t, h.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry); strings.Contains(r.Answer, "efgh") {
			t.Fatalf("%+v", r)
		}
	}
}
