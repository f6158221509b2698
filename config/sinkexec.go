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
	d.require(v, found, "command", commandWant)
}

func (d *decoder) execSinkTable(s *Sink, e *ExecSink) table {
	return table{what: "an exec sink", fields: []field{
		{"command", func(v value) { e.Command, e.Hide, s.Target = d.command(v, "[/usr/local/bin/on-event, --verbose]") }},
		{"env", func(v value) { e.Env = d.variables(v) }},
	}}
}

const commandWant = "a list of the program and its arguments"

// command reads a program and its arguments. hide are the arguments with a value from outside the file; program may be shown.
func (d *decoder) command(v value, example string) (argv, hide []event.Secret, program string) {
	if _, _, text := written(v); text {
		d.problem(v, "is text, and must be %s (%s): no shell reads it", commandWant, example)
		return nil, nil, ""
	}
	items := d.items(v)
	if len(items) == 0 {
		if !d.broken[v.path] {
			d.problem(v, "is an empty list, and must have the program and its arguments")
		}
		return nil, nil, ""
	}
	program = d.program(items[0])
	argv = append(argv, event.NewSecret(program))
	for _, item := range items[1:] {
		raw, ok := d.scalar(item, "text")
		if ok && strings.ContainsRune(raw.text, 0) {
			d.problem(item, "%s has a NUL character in it: remove it", subject(raw))
		}
		argument := event.NewSecret(raw.text)
		argv = append(argv, argument)
		if raw.interpolated {
			hide = append(hide, argument)
		}
	}
	return argv, hide, program
}

// program reads the first word of a command: an absolute path, or a name that is looked for in PATH when it is run.
func (d *decoder) program(v value) string {
	program, ok := d.text(v, "an absolute path, or the name of a program in PATH")
	if ok && strings.Contains(program.text, "/") && program.text[0] != '/' {
		d.problem(v, "is %s, a path that depends on where the daemon is started: write an absolute one", program.show())
	}
	return program.text
}

func (d *decoder) variables(v value) map[string]event.Secret {
	env := d.secrets(v, "text")
	for _, name := range slices.Sorted(maps.Keys(env)) {
		at := d.at(join(v.path, name))
		switch {
		case !envName.MatchString(name):
			d.problemAtKey(at, "is not the name of an environment variable: it has letters, digits and _")
		case strings.HasPrefix(name, "TIDINGS_"):
			d.problemAtKey(at, "is set by the daemon itself: give the variable another name than TIDINGS_…")
		case strings.ContainsRune(env[name].Reveal(), 0):
			d.problemAtKey(at, "has a NUL character in it: remove it")
		}
	}
	return env
}
