package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"tidings/event"
	"tidings/recipe"
)

// presetSource makes s of a preset and what `with` gives it.
func (d *decoder) presetSource(name, with value, s *Source) {
	preset, ok := d.preset(name, s.Preset)
	if !ok {
		return
	}
	s.Preset, s.HTTP, s.Feeds = preset.Name, preset.HTTP, preset.Feeds
	d.with(with, preset, s)
	for param, p := range preset.With {
		if _, given := s.Values[param]; !given && p.Default != "" {
			s.Values[param] = event.NewSecret(p.Default)
			s.Open = append(s.Open, param)
		}
	}
	d.identify = func(values map[string]event.Secret) string { return identity(preset, values) }
	s.Identity = d.identify(s.Values)
}

// preset finds a preset: a file of the user's, one in the directory of the user's, or one that is built in, in this order.
func (d *decoder) preset(at value, name string) (*recipe.Preset, bool) {
	file := ""
	switch {
	case recipe.IsFile(name):
		file = d.abs(name)
	case d.presets != "":
		if own := filepath.Join(d.presets, name+".yaml"); d.env.exists(own) {
			file = own
		}
	}
	if file != "" {
		text, err := d.env.readFile(file)
		if err != nil {
			d.problem(at, "is the file %s, which can't be read: %s", file, cause(err))
			return nil, false
		}
		preset, err := recipe.Parse(text)
		if err != nil {
			d.problem(at, "is the file %s, which is no preset: %v", file, err)
			return nil, false
		}
		return preset, true
	}
	preset, err := recipe.Find(name)
	if err != nil {
		raw, _, _ := written(at)
		hint := ""
		if near := nearest(raw, recipe.Names()); near != "" {
			hint = fmt.Sprintf("did you mean %s? ", near)
		}
		if d.presets != "" {
			hint = fmt.Sprintf("%s has no %s.yaml; %s", d.presets, name, hint)
		}
		d.problem(at, "is no preset that this version has: %sthere is %s; your own is a path, such as ./vendor.yaml",
			hint, strings.Join(recipe.Names(), ", "))
		return nil, false
	}
	return preset, true
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
			if raw, _, _ := written(v); !p.Secret && !strings.Contains(raw, "${") {
				s.Open = append(s.Open, param)
			}
			d.rereadable(param, v)
		}})
	}
	t.fields = append(t.fields, field{"query", func(v value) { d.extraQuery(v, preset, s) }})
	found := d.object(v, t)
	for _, param := range slices.Sorted(maps.Keys(preset.With)) {
		if preset.With[param].Required {
			d.require(v, found, param, about(preset.With[param]))
		}
	}
}

// extraQuery adds query parameters of the user's to every list of a preset, each as a parameter of the recipe.
func (d *decoder) extraQuery(v value, preset *recipe.Preset, s *Source) {
	lists := []*recipe.HTTP{&s.HTTP}
	if len(s.Feeds) > 0 {
		lists = nil
		for i := range s.Feeds {
			lists = append(lists, &s.Feeds[i].HTTP)
		}
	}
	for key, text := range d.secrets(v, "the value of a query parameter") {
		at, name := d.at(join(v.path, key)), parameter(part{key, "query"})
		if strings.ContainsFunc(text.Reveal(), unicode.IsControl) {
			d.problem(at, "has a line break or another control character, which a request can't have: remove it")
		}
		s.Values[name] = text
		d.rereadable(name, at)
		for _, list := range lists {
			if list.OwnQuery(key) {
				d.problemAtKey(at, "is a query parameter that the preset sets itself: remove it")
				break
			}
			if list.Query == nil {
				list.Query = map[string]string{}
			}
			list.Query[key] = "{" + name + "}"
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
	return strings.TrimSpace(text) // of an account that the user does not name, say
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256_" + hex.EncodeToString(sum[:8])
}
