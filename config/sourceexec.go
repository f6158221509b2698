package config

import (
	"slices"
	"strings"
	"time"

	"tidings/recipe"
)

// execSource reads which program a source runs. Its identity is the program, and its arguments as they are written.
func (d *decoder) execSource(v value, s *Source) {
	s.Exec = &ExecSource{Timeout: 30 * time.Second, ID: "id", Type: "type", Time: "time"}
	found := d.object(v, d.execSourceTable(s))
	d.printedItems(v, s.Exec)
	d.require(v, found, "command", commandWant)
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
		{"id", d.plain(&e.ID, "a path into an event, such as id")},
		{"type", d.plain(&e.Type, "a path into an event, such as type")},
		{"time", d.plain(&e.Time, "a path into an event, such as created")},
		{"zone", d.plain(&e.Zone, "UTC, or a name such as Europe/London")},
		{"layout", d.plain(&e.Layout, "the layout of times")},
	}}
}

// printedItems finds what is wrong with what an event of a program is.
func (d *decoder) printedItems(v value, e *ExecSource) {
	as := recipe.HTTP{URL: "http://localhost", Position: recipe.TailCursor, ID: e.ID, Type: e.Type, Time: e.Time, Zone: e.Zone, Layout: e.Layout}
	for _, p := range as.Problems() {
		if path := join(v.path, p.Path); slices.Contains([]string{"id", "type", "time", "zone", "layout"}, p.Path) && !d.broken[path] {
			d.problem(d.at(path), "%s", p.Text)
		}
	}
}
