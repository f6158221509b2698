package sinks

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"tidings/dispatch"
)

// A peer that accepts and then says nothing keeps no connection of ours beyond the time for connecting: the transport goes on
// with that when an attempt's time is up.
func TestHTTPLeavesNoConnectionToASilentPeer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var open atomic.Int32
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Add(1)
			go func() {
				defer open.Add(-1)
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil {
						return
					}
				}
			}()
		}
	}()
	h := newHTTP(t, HTTPOptions{URL: "https://" + ln.Addr().String() + "/"})
	transport := h.client.Transport.(*http.Transport)
	if transport.TLSHandshakeTimeout != dialTime || transport.HTTP2.SendPingTimeout == 0 {
		t.Fatalf("it connects for %v, and pings after %+v", transport.TLSHandshakeTimeout, transport.HTTP2)
	}
	transport.TLSHandshakeTimeout = 300 * time.Millisecond
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		want(t, h.Deliver(ctx, owed(sample("1", "{}"))), dispatch.Retry)
		cancel()
	}
	for deadline := time.Now().Add(10 * time.Second); open.Load() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open still", open.Load())
		}
	}
}
