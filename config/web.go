package config

import (
	"net"
	"strconv"
	"strings"
)

func (d *decoder) webTable(w *Web) table {
	return table{what: "web", fields: []field{{"listen", d.listenAddress(&w.Listen)}}}
}

// listenAddress reads an address to listen on into to. Which interface it names is known to the machine that listens, not here.
func (d *decoder) listenAddress(to *string) func(value) {
	const want = "an address and a port to listen on, such as 127.0.0.1:9480"
	return func(v value) {
		s, ok := d.text(v, want)
		if !ok {
			return
		}
		host, port, err := net.SplitHostPort(s.text)
		if err != nil || strings.ContainsAny(s.text, "/@ \t") {
			d.problem(v, "is %s, and must be %s", s.show(), want)
			return
		}
		if host == "" {
			d.problem(v, "%s names no address: write 127.0.0.1:%s for this machine alone, or 0.0.0.0:%[2]s for every interface", s.show(), port)
			return
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			d.problem(v, "is %s, and its port must be a number from 0 to 65535; 0 takes a free one", s.show())
			return
		}
		*to = s.text
	}
}
