package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"tidings/event"
	"tidings/recipe"
)

var nameText = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// named reads a mapping of names to things of one kind, and returns those whose name may be one.
func (d *decoder) named(v value, kind string) []entry {
	entries := d.entries(v)
	if len(entries) == 0 && v.node != nil && !d.broken[v.path] {
		d.problemAtKey(v, "is empty: there must be at least one")
	}
	return slices.DeleteFunc(entries, func(e entry) bool {
		d.seen[e.path] = e.value
		switch {
		case e.key == event.Own:
			d.problemAtKey(e.value, "is a reserved name: give the %s another", kind)
		case !nameText.MatchString(e.key):
			d.problemAtKey(e.value, "is not a name: a %s has 1 to 63 of a-z, 0-9, _ and -, and begins with a letter or digit", kind)
		default:
			return false
		}
		return true
	})
}

func (d *decoder) sources(v value, c *Config) {
	for _, e := range d.named(v, "source") {
		s := Source{
			Name: e.key, Place: e.value.key, Every: time.Minute, Jitter: 0.1, Events: event.Filter{"*"}, Overlap: 5 * time.Minute,
			OnLost: "from_time", Values: map[string]event.Secret{},
		}
		d.files, d.identify = map[string][]piece{}, nil
		d.source(e.value, &s, c)
		s.Reload = reloader(s, d.files, d.identify, d.env.readFile)
		c.Sources = append(c.Sources, s)
	}
}

// source reads one source. c is read only after the whole file is.
func (d *decoder) source(v value, s *Source, c *Config) {
	t := table{
		what: "a source",
		fields: []field{
			{"preset", func(v value) {
				if name, ok := d.text(v, "the name of a preset ("+strings.Join(recipe.Names(), ", ")+") or the path of your own"); ok {
					s.Preset = name.text
				}
			}},
			{"with", func(value) {}}, // read when it is known what they belong to
			{"http", func(value) {}},
			{"feeds", func(value) {}},
			{"exec", func(v value) { d.execSource(v, s) }},
			{"every", d.duration(&s.Every, 100*time.Millisecond, 366*day)},
			{"cron", func(v value) { d.cron(v, s) }},
			{"jitter", d.number(&s.Jitter, 0, 1)},
			{"start", func(v value) { d.start(v, &s.Start) }},
			{"events", d.globs(&s.Events)},
			{"overlap", d.duration(&s.Overlap, 0, forever)},
			{"on_lost_position", d.oneOf(&s.OnLost, "from_time", "stop", "from_now")},
			{"tls", func(v value) { d.tls(v, s) }},
			{"proxy", func(v value) { d.proxy(v, s) }},
		},
		below: map[string][]string{
			"http": d.httpTable(&recipe.HTTP{}, s).keys(),
			"exec": d.execSourceTable(&Source{Exec: new(ExecSource)}).keys(),
			"tls":  tlsKeys,
		},
	}
	found := d.object(v, t)
	d.tables = append(d.tables, scope{v.path, t}) // what it says to poll is read when it is known what that is
	d.kindOfSource(v, s, found)
	d.tables = d.tables[:len(d.tables)-1]
	_, everySet := found["every"]
	cron, cronSet := found["cron"]
	if cronSet && everySet {
		d.problemAtKey(cron, "stands beside every: a source has one of them")
	}
	if every, err := recipe.Duration(s.HTTP.Limits.Every); err == nil && !everySet && s.Cron == nil {
		s.Every = every
	}
	d.overlap(v, found, s, c)
}

// kindOfSource reads what is polled: exactly one of preset, http and exec.
func (d *decoder) kindOfSource(v value, s *Source, found map[string]value) {
	kind := ""
	for _, k := range []string{"preset", "http", "exec"} {
		at, ok := found[k]
		switch {
		case ok && kind != "":
			d.problemAtKey(at, "stands beside %s: a source has one of preset, http and exec", kind)
			return
		case ok:
			kind = k
		}
	}
	for key, of := range map[string]string{"with": "preset", "feeds": "http"} {
		if at, ok := found[key]; ok && kind != "" && kind != of {
			d.problemAtKey(at, "belongs to %s, and this source has %s: remove it", of, kind)
		}
	}
	for _, key := range []string{"tls", "proxy"} {
		if at, ok := found[key]; ok && kind == "exec" {
			d.problemAtKey(at, "is of requests, and a program makes its own: remove it")
		}
	}
	switch {
	case kind == "http":
		d.httpSource(v, found, s)
	case kind == "preset" && s.Preset != "":
		with, ok := found["with"]
		if !ok {
			with = value{path: join(v.path, "with"), key: v.key, at: v.key}
		}
		d.presetSource(found["preset"], with, s)
	case kind == "" && !d.broken[v.path]:
		d.problemAtKey(v, "does not say what to poll: write preset, http or exec")
	}
}

// overlap fills in how far back the source looks, and checks that what is found there is remembered.
func (d *decoder) overlap(v value, found map[string]value, s *Source, c *Config) {
	at, set := found["overlap"]
	if !set {
		at = value{path: join(v.path, "overlap"), key: v.key, at: v.key}
		for _, list := range s.HTTP.Lists(s.Feeds) {
			if long, err := recipe.Duration(list.Overlap); err == nil {
				s.Overlap = max(s.Overlap, long)
			}
		}
	}
	length := s.Overlap
	d.later = append(d.later, func() {
		if length > c.Store.Remember {
			d.problem(at, "is longer than store.remember (%s): an event is told from a new one only while it is remembered",
				recipe.FormatDuration(c.Store.Remember))
		}
	})
}

// address checks that text, which is what v says, is an address to send requests to.
func (d *decoder) address(v value, text string) (*url.URL, bool) {
	raw, _, _ := written(v)
	parts, _ := split(raw, "${")
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		d.problem(v, "%s is not an address: it begins with https:// or http:// and a host",
			subject(scalar{written: raw, interpolated: interpolated(parts)}))
	case u.User != nil:
		d.problem(v, "has a user or password in its address: they belong elsewhere, such as http.auth.basic")
	case u.Fragment != "":
		d.problem(v, "has a # part, which is never sent to a server: leave it out")
	default:
		return u, true
	}
	return nil, false
}

// cron reads a schedule of five fields, an optional CRON_TZ= before them, or a word such as @daily.
func (d *decoder) cron(v value, s *Source) {
	const want = `five fields such as "*/5 * * * *" (minute, hour, day of month, month, day of week)`
	spec, ok := d.text(v, want)
	if !ok {
		return
	}
	words := strings.Fields(spec.text)
	zoned := len(words) > 0 && strings.HasPrefix(words[0], "CRON_TZ=")
	if zoned {
		if _, err := time.LoadLocation(strings.TrimPrefix(words[0], "CRON_TZ=")); err != nil {
			d.problem(v, "is %s, whose time zone is unknown: write one such as CRON_TZ=Europe/Berlin", spec.show())
			return
		}
		words = words[1:]
	}
	switch {
	case len(words) > 0 && words[0] == "@every":
		d.problem(v, "is %s: write every: instead of cron:", spec.show())
		return
	case len(words) != 5 && (len(words) != 1 || !strings.HasPrefix(words[0], "@")):
		d.problem(v, "is %s, and must be %s", spec.show(), want)
		return
	}
	schedule, err := cron.ParseStandard(strings.Join(strings.Fields(spec.text), " "))
	switch {
	case err != nil:
		d.problem(v, "is %s, and must be %s", spec.show(), want)
	case schedule.Next(time.Now()).IsZero():
		d.problem(v, "is %s, a time that never comes: write %s", spec.show(), want)
	default:
		s.Cron, s.CronSpec, s.Every = schedule, spec.text, 0
	}
}

// start reads where a first run begins. A time to come is no problem: it is past some day, and a clock may be wrong at boot.
func (d *decoder) start(v value, to *Start) {
	const want = "now, earliest or an RFC 3339 time such as 2026-11-01T00:00:00Z"
	s, ok := d.text(v, want)
	if !ok {
		return
	}
	switch s.text {
	case "now":
		*to = Start{}
	case "earliest":
		*to = Start{Earliest: true}
	default:
		at, err := time.Parse(time.RFC3339, s.text)
		if err != nil {
			d.problem(v, "is %s, and must be %s", s.show(), want)
			return
		}
		*to = Start{At: at}
	}
}
