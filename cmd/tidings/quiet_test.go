package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// What an endpoint says unasked, after its answer, goes nowhere: not past the log's format, and not with the secrets that it may quote.
func TestUnaskedAnswersAreNotLogged(t *testing.T) {
	s := newSite(t)
	s.api.Backfill(1, time.Hour)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dropped := make(chan struct{})
	var served sync.WaitGroup
	t.Cleanup(served.Wait)
	t.Cleanup(func() { ln.Close() })
	served.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		for range 2 {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 hush-1234\r\nContent-Length: 0\r\n\r\n")
		}
		_, _ = r.ReadByte() // ends when the sink, which has told what it had to tell, drops the connection
		close(dropped)
	})
	s.configure("every: 100ms\nstart: earliest", "app:\n  http: {url: \"http://"+ln.Addr().String()+"\"}")
	d := s.start()
	select {
	case <-dropped:
	case <-time.After(time.Minute):
		t.Fatal("the sink keeps a connection that says more than it was asked")
	}
	d.stop()
	if log := d.log.String(); strings.Contains(log, "hush-1234") {
		t.Errorf("the log is\n%s", log)
	}
}
