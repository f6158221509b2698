package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"tidings/recipe"
)

// item is the JSON of one event, and where it stood.
type item struct {
	gjson.Result
	around gjson.Result // the listed item; another than the event's own where the recipe explodes
	index  int          // in the array of the item around
	each   string       // the value of for_each that it was listed for; empty where the list is one
	ignore []string     // keys that do not count in the item's hash
}

// get reads the text at a path; empty where there is none. Paths that begin with @ are the template's own words.
func (i *item) get(path string) string {
	if path[0] == '@' {
		switch rest, inAround := strings.CutPrefix(path, "@item."); {
		case inAround:
			return text(i.around.Get(rest))
		case path == "@hash":
			return version(i.Result, i.ignore)
		case path == "@index":
			return strconv.Itoa(i.index)
		case path == "@each":
			return i.each
		}
	}
	return text(i.Get(path))
}

// hash is the id of an item that has none. Lists of several values may list alike what is not the same.
func (i *item) hash() string {
	if i.each != "" {
		return hash(i.each + "\x00" + i.Raw)
	}
	return hash(i.Raw)
}

// field reads one text out of items: by a path, by a template of paths, or always the same word.
type field struct {
	path     string
	word     string
	template *recipe.Template
}

// newField reads what stands at name in the recipe. A word is written =word.
func newField(name, text string) (field, error) {
	if word, ok := strings.CutPrefix(text, "="); ok {
		return field{word: word}, nil
	}
	if !strings.ContainsAny(text, "{}") {
		return field{path: text}, nil
	}
	t, err := recipe.ParseTemplate(text)
	if err != nil {
		return field{}, fmt.Errorf("%s %w", name, err)
	}
	return field{template: &t}, nil
}

// given reports whether the recipe has the field.
func (f *field) given() bool { return f.path != "" || f.word != "" || f.template != nil }

// of is the field's text; empty where any part of it is missing, since the rest alone would be shared by several items.
func (f *field) of(i *item) string {
	switch {
	case f.path != "":
		return i.get(f.path)
	case f.template == nil:
		return f.word
	}
	s, err := f.template.Expand(func(path string) (string, bool) {
		v := i.get(path)
		return v, v != ""
	})
	if err != nil {
		return ""
	}
	return s
}

// text is a JSON value as text: a string's content, a number with all its digits, anything else as it stands; empty for
// null and for nothing.
func text(v gjson.Result) string {
	switch v.Type {
	case gjson.Null:
		return ""
	case gjson.String:
		// An escaped half of a surrogate pair has no text: two different ones would become one.
		if strings.Contains(v.Raw, `\u`) && strings.ContainsRune(v.Str, utf8.RuneError) {
			return strings.Clone(v.Raw[1 : len(v.Raw)-1])
		}
		return strings.Clone(v.Str)
	default:
		return strings.Clone(v.Raw)
	}
}

// hash is the id of what has none: it tells apart what differs in any byte.
func hash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256_" + hex.EncodeToString(sum[:])
}

// version tells apart what differs in anything but spaces, the order of an object's keys, and those of its own keys that are ignored.
func version(v gjson.Result, ignore []string) string {
	sum := sha256.Sum256(canonical(nil, v, ignore))
	return hex.EncodeToString(sum[:16])
}

func canonical(to []byte, v gjson.Result, ignore []string) []byte {
	switch {
	case v.IsObject():
		type member struct {
			key   string
			value gjson.Result
		}
		var members []member
		v.ForEach(func(key, value gjson.Result) bool {
			if !slices.Contains(ignore, key.Str) {
				members = append(members, member{key.Raw, value})
			}
			return true
		})
		slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
		to = append(to, '{')
		for _, m := range members {
			to = append(append(to, m.key...), ':')
			to = append(canonical(to, m.value, nil), ',')
		}
		return append(to, '}')
	case v.IsArray():
		to = append(to, '[')
		v.ForEach(func(_, value gjson.Result) bool {
			to = append(canonical(to, value, nil), ',')
			return true
		})
		return append(to, ']')
	}
	return append(to, v.Raw...)
}
