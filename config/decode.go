package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"tidings/event"
)

// decoder reads one file. It never stops at a problem: what can't be read is left at its default and told.
type decoder struct {
	env      env
	dir      string // absolute directory of the file; relative paths start here
	problems []Problem
	anchors  map[string]*ast.AnchorNode
	budget   int             // values that may still be read
	broken   map[string]bool // paths whose value has a problem that its reader need not repeat
	resolved map[part]string
	seen     map[string]value // every value that was read, by its path
	tables   []scope          // of the mappings around the one that is being read, outermost first
	onTable  func(path string, keys []string)
	later    []func()                             // checks that need the whole file
	presets  string                               // absolute directory of the user's own presets; empty: none
	identify func(map[string]event.Secret) string // the identity that values give the source that is being read; nil where it has none of them
	files    map[string][]piece                   // of the source that is being read: its values that come from files, by parameter
}

// table is what may stand in one mapping.
type table struct {
	what   string // what the mapping is: "a sink"
	fields []field
	below  map[string][]string // keys of the mappings under its own keys, to say where a misplaced key belongs
	absent map[string]string   // keys of the format that this version has not, and what to say of them
	first  string              // the key that is read before the others, wherever it stands
}

// scope is a table at a path.
type scope struct {
	path string
	table
}

// field is one key and what reads its value.
type field struct {
	key  string
	read func(value)
}

func (t table) keys() []string {
	keys := make([]string, len(t.fields))
	for i, f := range t.fields {
		keys[i] = f.key
	}
	return keys
}

// problem records what is wrong with v. The format's arguments must not hold secrets.
func (d *decoder) problem(v value, format string, args ...any) {
	if d.budget < 0 { // what follows from not having read the rest is no problem of its own
		return
	}
	d.problems = append(d.problems, Problem{v.at, oneLine(v.path), oneLine(fmt.Sprintf(format, args...))})
	d.broken[v.path] = true
}

// oneLine writes control characters as Go would, so that a problem is one line whatever the file has in it.
func oneLine(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	var line strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			line.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		line.WriteRune(r)
	}
	return line.String()
}

// at returns what was read at path, or no value at the place of what is nearest around it.
func (d *decoder) at(path string) value {
	if v, ok := d.seen[path]; ok {
		return v
	}
	for outer := path; ; {
		if around, ok := d.seen[outer]; ok {
			return value{path: path, key: around.key, at: around.at}
		}
		i := strings.LastIndexAny(outer, ".[")
		if i < 0 {
			return value{path: path, key: Place{1, 1}, at: Place{1, 1}}
		}
		outer = outer[:i]
	}
}

// brokenAround reports whether what stands at path, or what that stands in, has a problem of its own.
func (d *decoder) brokenAround(path string) bool {
	for path != "" {
		if d.broken[path] {
			return true
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return false
}

// problemAtKey records what is wrong with v at its key: that it stands there at all, or that something is missing in it.
func (d *decoder) problemAtKey(v value, format string, args ...any) {
	v.at = v.key
	d.problem(v, format, args...)
}

// require says that key is missing in v, unless it was found.
func (d *decoder) require(v value, found map[string]value, key, want string) {
	if _, ok := found[key]; !ok && !d.broken[v.path] {
		d.problemAtKey(value{path: join(v.path, key), key: v.key}, "is missing: %s", want)
	}
}

// object reads a mapping by its table and returns the values that it has, by key.
func (d *decoder) object(v value, t table) map[string]value {
	if d.onTable != nil {
		d.onTable(v.path, t.keys())
	}
	entries := d.entries(v)
	if i := slices.IndexFunc(entries, func(e entry) bool { return e.key == t.first }); i > 0 {
		entries[0], entries[i] = entries[i], entries[0]
	}
	d.tables = append(d.tables, scope{v.path, t})
	found := make(map[string]value, len(entries))
	for _, e := range entries {
		d.seen[e.path] = e.value
		i := slices.IndexFunc(t.fields, func(f field) bool { return f.key == e.key })
		if i < 0 {
			d.unknown(e)
			continue
		}
		found[e.key] = e.value
		t.fields[i].read(e.value)
	}
	d.tables = d.tables[:len(d.tables)-1]
	return found
}

// unknown says of a key what it might have been.
func (d *decoder) unknown(e entry) {
	here := d.tables[len(d.tables)-1]
	if text, ok := here.absent[e.key]; ok {
		d.problemAtKey(e.value, "%s", text)
		return
	}
	for _, key := range here.keys() {
		if slices.Contains(here.below[key], e.key) {
			d.problemAtKey(e.value, "is not a key of %s: it belongs under %s", here.what, join(here.path, key))
			return
		}
	}
	for _, outer := range slices.Backward(d.tables[:len(d.tables)-1]) {
		if slices.Contains(outer.keys(), e.key) {
			d.problemAtKey(e.value, "is not a key of %s: it belongs to %s, as %s", here.what, outer.what, join(outer.path, e.key))
			return
		}
	}
	if near := nearest(e.key, here.keys()); near != "" {
		d.problemAtKey(e.value, "is not a key of %s: did you mean %s?", here.what, near)
		return
	}
	d.problemAtKey(e.value, "is not a key of %s: it has %s", here.what, strings.Join(here.keys(), ", "))
}

// nearest returns the one of names that is most like name, if any is like it.
func nearest(name string, names []string) string {
	name = strings.ToLower(name)
	best, least := "", min(2, len(name)/2)+1
	for _, n := range names {
		far := distance(name, n)
		if len(name) >= 3 && strings.HasPrefix(n, name) {
			far = 1
		}
		if far < least {
			best, least = n, far
		}
	}
	return best
}

// distance is the number of letters to insert, remove, replace or swap with a neighbour that makes b of a (optimal string
// alignment), for names of at most 64 letters.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
