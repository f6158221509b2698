package config

import (
	"maps"
	"slices"
	"strings"

	"tidings/event"
)

// execSink reads which program an exec sink runs.
func (d *decoder) execSink(v value, s *Sink) {
	found := d.object(v, d.execSinkTable(s, s.Exec))
	if _, ok := found["command"]; !ok && !d.broken[v.path] {
		d.problemAtKey(value{path: join(v.path, "command"), key: v.key}, "is missing: a list of the program and its arguments")
	}
}

func (d *decoder) execSinkTable(s *Sink, e *ExecSink) table {
	return table{what: "an exec sink", fields: []field{
		{"command", func(v value) { d.command(v, s, e) }},
		{"env", func(v value) { d.variables(v, e) }},
	}}
}

func (d *decoder) command(v value, s *Sink, e *ExecSink) {
	if _, _, text := written(v); text {
		d.problem(v, "is text, and must be a list of the program and its arguments ([/usr/local/bin/on-event, --verbose]): no shell reads it")
		return
	}
	items := d.items(v)
	if len(items) == 0 {
		if !d.broken[v.path] {
			d.problem(v, "is an empty list, and must have the program and its arguments")
		}
		return
	}
	for i, item := range items {
		if i == 0 {
			d.program(item, s, e)
			continue
		}
		raw, ok := d.scalar(item, "text")
		if ok && strings.ContainsRune(raw.text, 0) {
			d.problem(item, "%s has a NUL character in it: remove it", subject(raw))
		}
		argument := event.NewSecret(raw.text)
		e.Command = append(e.Command, argument)
		if raw.interpolated {
			e.Hide = append(e.Hide, argument)
		}
	}
}

// program reads the first word of a command: an absolute path, or a name that is looked for in PATH when it is run.
func (d *decoder) program(v value, s *Sink, e *ExecSink) {
	program, ok := d.text(v, "an absolute path, or the name of a program in PATH")
	if ok && strings.Contains(program.text, "/") && program.text[0] != '/' {
		d.problem(v, "is %s, a path that depends on where the daemon is started: write an absolute one", program.show())
	}
	s.Target = program.text
	e.Command = append(e.Command, event.NewSecret(program.text))
}

func (d *decoder) variables(v value, e *ExecSink) {
	e.Env = d.secrets(v, "text")
	for _, name := range slices.Sorted(maps.Keys(e.Env)) {
		at := d.at(join(v.path, name))
		at.at = at.key
		switch {
		case !envName.MatchString(name):
			d.problem(at, "is not the name of an environment variable: it has letters, digits and _")
		case strings.HasPrefix(name, "TIDINGS_"):
			d.problem(at, "is set by the sink itself: give the variable another name than TIDINGS_…")
		case strings.ContainsRune(e.Env[name].Reveal(), 0):
			d.problem(at, "has a NUL character in it: remove it")
		}
	}
}
