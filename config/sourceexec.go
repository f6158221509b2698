package config

import (
	"strings"
	"time"
)

// execSource reads which program a source runs. Its identity is the program, and its arguments as they are written.
func (d *decoder) execSource(v value, s *Source) {
	s.Exec = &ExecSource{Timeout: 30 * time.Second}
	found := d.object(v, d.execSourceTable(s))
	if _, ok := found["command"]; !ok && !d.broken[v.path] {
		d.problemAtKey(value{path: join(v.path, "command"), key: v.key}, "is missing: a list of the program and its arguments")
	}
}

func (d *decoder) execSourceTable(s *Source) table {
	e := s.Exec
	return table{what: "an exec source", fields: []field{
		{"command", func(v value) {
			e.Command, e.Hide, s.Identity = d.command(v, "[/usr/local/bin/list-events]")
			if len(e.Command) < 2 {
				return
			}
			var arguments []string // they may hold a secret, and an identity is shown
			for _, item := range d.items(v)[1:] {
				raw, _, _ := written(item)
				arguments = append(arguments, raw)
			}
			s.Identity += " " + hash(strings.Join(arguments, "\x00"))
		}},
		{"env", func(v value) { e.Env = d.variables(v) }},
		{"timeout", d.duration(&e.Timeout, time.Millisecond, time.Hour)},
	}}
}
