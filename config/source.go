package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

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
		case e.key == "tidings":
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
			Name: e.key, Every: time.Minute, Jitter: 0.1, Events: event.Filter{"*"}, Overlap: 5 * time.Minute,
			Values: map[string]event.Secret{},
		}
		d.source(e.value, &s, c)
		c.Sources = append(c.Sources, s)
	}
}

// source reads one source. c is read only after the whole file is.
func (d *decoder) source(v value, s *Source, c *Config) {
	var with, http value
	everySet := false
	found := d.object(v, table{
		what: "a source",
		fields: []field{
			{"preset", func(v value) {
				if name, ok := d.text(v, "the name of a preset ("+strings.Join(recipe.Names(), ", ")+")"); ok {
					s.Preset = name.text
				}
			}},
			{"with", func(v value) { with = v }},
			{"http", func(v value) { http = v }},
			{"every", func(v value) {
				everySet = true
				d.duration(&s.Every, 100*time.Millisecond, 366*day)(v)
			}},
			{"cron", func(v value) { d.cron(v, s) }},
			{"jitter", d.number(&s.Jitter, 0, 1)},
			{"start", func(v value) { d.start(v, &s.Start) }},
			{"events", d.globs(&s.Events)},
			{"overlap", d.duration(&s.Overlap, 0, forever)},
		},
		below: map[string][]string{
			"http": d.httpTable(&recipe.HTTP{}, s).keys(),
		},
		absent: map[string]string{
			"exec": "this version has no exec sources: use preset or http",
		},
	})
	_, hasPreset := found["preset"]
	_, hasHTTP := found["http"]
	_, hasWith := found["with"]
	switch {
	case hasPreset && hasHTTP:
		d.problemAtKey(http, "stands beside preset: a source has one of them")
	case hasHTTP:
		if hasWith {
			d.problemAtKey(with, "gives a preset what it asks for, and this source has none: remove it")
		}
		d.httpSource(http, s)
	case hasPreset && s.Preset != "":
		if !hasWith {
			with = value{path: join(v.path, "with"), key: v.key, at: v.key}
		}
		d.presetSource(found["preset"], with, s)
	case !hasPreset && !d.broken[v.path] && !d.broken[join(v.path, "exec")]:
		d.problemAtKey(v, "does not say what to poll: write preset or http")
	}
	if every, ok := found["cron"]; ok && everySet {
		d.problemAtKey(every, "stands beside every: a source has one of them")
	}
	if overlap, ok := found["overlap"]; ok {
		length := s.Overlap
		d.later = append(d.later, func() {
			if length > c.Store.Remember {
				d.problem(overlap, "is longer than store.remember (%s): an event is told from a new one only while it is remembered",
					formatDuration(c.Store.Remember))
			}
		})
	}
}

// presetSource makes s of a preset and what `with` gives it.
func (d *decoder) presetSource(name, with value, s *Source) {
	preset, err := recipe.Find(s.Preset)
	if err != nil {
		raw, _, _ := written(name)
		hint := ""
		if near := nearest(raw, recipe.Names()); near != "" {
			hint = fmt.Sprintf("did you mean %s? ", near)
		}
		d.problem(name, "is no preset that this version has: %sthere is %s", hint, strings.Join(recipe.Names(), ", "))
		return
	}
	s.HTTP = preset.HTTP
	d.with(with, preset, s)
	for param, p := range preset.With {
		if _, given := s.Values[param]; !given && p.Default != "" {
			s.Values[param] = event.NewSecret(p.Default)
		}
	}
	s.Identity = identity(preset, s.Values)
}

// with reads a preset's parameters.
func (d *decoder) with(v value, preset *recipe.Preset, s *Source) {
	t := table{what: "what the preset " + preset.Name + " takes"}
	for _, param := range slices.Sorted(maps.Keys(preset.With)) {
		p := preset.With[param]
		t.fields = append(t.fields, field{param, func(v value) {
			text, ok := d.secret(v, about(p))
			if !ok {
				return
			}
			if strings.ContainsFunc(text.Reveal(), unicode.IsControl) {
				d.problem(v, "has a line break or another control character, which a request can't have: remove it")
				return
			}
			if param == "base_url" {
				base := strings.TrimRight(text.Reveal(), "/")
				if _, ok := d.address(v, base); !ok {
					return
				}
				text = event.NewSecret(base)
			}
			s.Values[param] = text
		}})
	}
	t.fields = append(t.fields, field{"query", func(v value) {
		s.ExtraQuery = d.secrets(v, "the value of a query parameter")
		for name := range s.ExtraQuery {
			if preset.HTTP.OwnQuery(name) {
				d.problemAtKey(d.at(join(v.path, name)), "is a query parameter that the preset sets itself: remove it")
			}
		}
	}})
	found := d.object(v, t)
	for _, param := range slices.Sorted(maps.Keys(preset.With)) {
		if _, given := found[param]; !given && preset.With[param].Required && !d.broken[v.path] {
			d.problemAtKey(value{path: join(v.path, param), key: v.key}, "is missing: %s", about(preset.With[param]))
		}
	}
}

// about says what a parameter is, as the rest of a sentence.
func about(p recipe.Param) string {
	text := strings.TrimSuffix(p.About, ".")
	if p.Example != "" {
		text += ", such as " + p.Example
	}
	return text
}

// identity expands the template of what makes a preset's source this one and no other. It is stored and shown, so what the
// preset declares a secret stands as its hash.
func identity(preset *recipe.Preset, values map[string]event.Secret) string {
	t, err := recipe.ParseTemplate(preset.Identity)
	if err != nil {
		return ""
	}
	text, err := t.Expand(func(name string) (string, bool) {
		value := values[name].Reveal()
		if preset.With[name].Secret {
			value = hash(value)
		}
		return value, true
	})
	if err != nil {
		return ""
	}
	return text
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256_" + hex.EncodeToString(sum[:8])
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
