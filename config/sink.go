package config

import (
	"slices"
	"strings"
	"time"

	"tidings/event"
	"tidings/recipe"
)

// concurrency is what a sink has unless it says otherwise.
var concurrency = map[string]int{"http": 8, "file": 1, "exec": 1}

func (d *decoder) sinks(v value, c *Config) {
	files := map[string]string{} // sinks by the path that they write to
	for _, e := range d.named(v, "sink") {
		s := Sink{
			Name: e.key, Place: e.value.key, Timeout: 15 * time.Second, Sources: event.Filter{"*"}, Events: event.Filter{"*"}, Order: "none",
			Retry: Retry{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, Jitter: 0.2, GiveUpAfter: 72 * time.Hour},
		}
		d.sink(e.value, &s, c)
		d.ownFile(e.value, &s, files)
		c.Sinks = append(c.Sinks, s)
	}
}

// sink reads one sink. c is read only after the whole file is.
func (d *decoder) sink(v value, s *Sink, c *Config) {
	found := d.object(v, table{
		what: "a sink",
		fields: []field{
			{"http", func(v value) {
				s.HTTP = new(HTTPSink)
				d.httpSink(v, s)
			}},
			{"file", func(v value) {
				s.File = &FileSink{Timezone: time.UTC}
				d.fileSink(v, s)
			}},
			{"exec", func(v value) {
				s.Exec = new(ExecSink)
				d.execSink(v, s)
			}},
			{"timeout", d.duration(&s.Timeout, time.Millisecond, time.Hour)},
			{"format", func(v value) { d.format(v, &s.Format) }},
			{"sources", func(v value) { d.sinkSources(v, &s.Sources, c) }},
			{"events", d.globs(&s.Events)},
			{"retry", func(v value) { d.retry(v, &s.Retry) }},
			{"concurrency", d.integer(&s.Concurrency, 1, 1024)},
			{"order", func(v value) { d.order(v, &s.Order) }},
		},
		below: map[string][]string{
			"http":  d.httpSinkTable(new(Sink), new(HTTPSink)).keys(),
			"file":  d.fileSinkTable(new(FileSink)).keys(),
			"exec":  d.execSinkTable(new(Sink), new(ExecSink)).keys(),
			"retry": d.retryTable(new(Retry)).keys(),
		},
		absent: map[string]string{
			"on_stuck": "this version has no ordered sinks, so nothing gets stuck: remove the key",
		},
	})
	kind := ""
	for _, k := range []string{"http", "file", "exec"} {
		at, ok := found[k]
		switch {
		case ok && kind != "":
			d.problemAtKey(at, "stands beside %s: a sink has one of http, file and exec", kind)
		case ok:
			kind = k
		}
	}
	if kind == "" {
		if !d.broken[v.path] {
			d.problemAtKey(v, "does not say where to deliver to: write http, file or exec")
		}
		return
	}
	if at, ok := found["concurrency"]; ok && kind == "file" && s.Concurrency > 1 {
		d.problem(at, "is %d, and is always 1 for a file sink: its lines go one after the other", s.Concurrency)
	}
	if s.Concurrency == 0 {
		s.Concurrency = concurrency[kind]
	}
	if s.Format == "" {
		s.Format = "envelope"
		if kind == "http" {
			s.Format = "raw"
		}
	}
}

func (d *decoder) format(v value, to *string) {
	if raw, _, _ := written(v); raw == "cloudevents" {
		d.problem(v, "is cloudevents, which this version does not have: write raw or envelope")
		return
	}
	d.oneOf(to, "raw", "envelope")(v)
}

func (d *decoder) order(v value, to *string) {
	s, ok := d.text(v, "none")
	if ok && s.text != "none" {
		d.problem(v, "is %s, and this version has only none: events are delivered as they come, failed ones later", s.show())
		return
	}
	*to = "none"
}

// sinkSources reads which sources a sink gets events of. Whether they are configured shows when the whole file is read.
func (d *decoder) sinkSources(v value, to *event.Filter, c *Config) {
	names, ok := d.texts(v, `the name of a source, or "*"`)
	if !ok {
		return
	}
	*to = names
	d.later = append(d.later, func() {
		known := make([]string, len(c.Sources))
		for i, s := range c.Sources {
			known[i] = s.Name
		}
		for i, item := range d.items(v) {
			if names[i] == "*" || names[i] == event.Own || slices.Contains(known, names[i]) {
				continue
			}
			hint := "there is " + strings.Join(known, ", ")
			if near := nearest(names[i], known); near != "" {
				hint = "did you mean " + near + "?"
			} else if len(known) == 0 {
				hint = "there is none"
			}
			d.problem(item, "is no source of this configuration: %s", hint)
		}
	})
}

func (d *decoder) retry(v value, r *Retry) {
	found := d.object(v, d.retryTable(r))
	if r.Initial > r.Max && !d.broken[join(v.path, "initial")] && !d.broken[join(v.path, "max")] {
		at, ok := found["max"]
		if !ok {
			at = found["initial"]
		}
		d.problem(at, "makes the first wait (initial, %s) longer than the longest (max, %s): raise max or lower initial",
			recipe.FormatDuration(r.Initial), recipe.FormatDuration(r.Max))
	}
}

func (d *decoder) retryTable(r *Retry) table {
	return table{what: "retry", fields: []field{
		{"initial", d.duration(&r.Initial, time.Millisecond, 30*day)},
		{"max", d.duration(&r.Max, time.Millisecond, 30*day)},
		{"multiplier", d.number(&r.Multiplier, 1, 100)},
		{"jitter", d.number(&r.Jitter, 0, 1)},
		{"give_up_after", d.duration(&r.GiveUpAfter, time.Second, forever)},
	}}
}
