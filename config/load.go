package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// maxTokens bounds what the parser is given: it takes quadratic time and a stack as deep as the file nests.
const maxTokens = 50_000

// maxSocket is how long the path of a Unix socket can be (unix(7): 108 bytes with the zero at its end).
const maxSocket = 107

// Load reads, checks and completes the configuration in file. The error is an *Errors with every problem there is, unless
// the file itself can't be read.
func Load(file string) (*Config, error) {
	c, problems, err := load(file, machine, nil)
	if err != nil {
		return nil, err
	}
	if len(problems.Problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// Places reads only where the configuration in file puts its data and its control socket, so that a client finds the daemon
// even when something else in the file is wrong, or is not for the client's eyes.
func Places(file string) (dataDir, control string, err error) {
	return places(file, machine)
}

func places(file string, from env) (dataDir, control string, err error) {
	c, problems, err := load(file, from, nil)
	if err != nil {
		return "", "", err
	}
	problems.Problems = slices.DeleteFunc(problems.Problems, func(p Problem) bool {
		return p.Path != "" && p.Path != "data_dir" && p.Path != "control"
	})
	if len(problems.Problems) > 0 {
		return "", "", problems
	}
	return c.DataDir, c.Control, nil
}

// load does the work of Load on any machine. onTable, unless nil, is told the keys of each mapping that is read.
func load(file string, from env, onTable func(path string, keys []string)) (*Config, *Errors, error) {
	d := &decoder{
		env:      from,
		anchors:  map[string]*ast.AnchorNode{},
		budget:   maxValues,
		broken:   map[string]bool{},
		resolved: map[part]string{},
		seen:     map[string]value{},
		onTable:  onTable,
	}
	c := &Config{
		File:  file,
		Log:   Log{Level: slog.LevelInfo, Format: "auto"},
		Store: Store{Remember: 90 * day, Keep: 14 * day, MaxSize: 10 << 30, MinFree: 512 << 20},
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, nil, fmt.Errorf("find the configuration %s: %w", file, err)
	}
	d.dir = filepath.Dir(path)
	data, err := from.readFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	d.file(c, bytes.TrimPrefix(data, []byte("\ufeff"))) // some editors begin a file with a byte order mark
	problems := &Errors{File: file, Problems: d.problems}
	problems.sort()
	return c, problems, nil
}

// file reads the whole file into c.
func (d *decoder) file(c *Config, data []byte) {
	top := value{key: Place{1, 1}, at: Place{1, 1}}
	if len(data) > maxFile {
		d.problem(top, "the configuration is longer than 1 MiB: it is hardly one")
		return
	}
	root, ok := d.parse(data)
	if !ok {
		return
	}
	top.node = root
	if root != nil {
		if _, mapping := root.(*ast.MappingNode); !mapping {
			top.at = begin(root)
			d.problem(top, "is %s, and must be a mapping with the keys sources and sinks", describe(top))
			return
		}
	}
	d.config(c, top)
	for _, check := range d.later {
		check()
	}
}

// parse returns the root of the file's one document, nil when it is empty.
func (d *decoder) parse(data []byte) (root ast.Node, ok bool) {
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > maxTokens {
		end := value{at: placeOf(tokens[maxTokens])}
		d.problem(end, "the configuration has more than %d words and signs: it is hardly one", maxTokens)
		return nil, false
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return nil, false
	}
	found := false
	for _, doc := range f.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if found {
			d.problem(value{at: begin(doc.Body)}, "a second YAML document begins here: a configuration is one, so remove the line ---")
			return nil, false
		}
		found, root = true, doc.Body
	}
	if root != nil {
		ast.Walk(anchors{d}, root)
	}
	return root, true
}

// syntax records what the YAML parser says. Its own text quotes no values, but its excerpt of the file would.
func (d *decoder) syntax(err error) {
	v := value{at: Place{1, 1}}
	e, ok := errors.AsType[yaml.Error](err)
	if !ok || e.GetToken() == nil {
		d.problem(v, "is not YAML")
		return
	}
	v.at = placeOf(e.GetToken())
	hint := ""
	if prev := e.GetToken().Prev; prev != nil && strings.HasPrefix(e.GetToken().Value, "{") && strings.HasSuffix(prev.Value, "$") ||
		strings.HasSuffix(e.GetToken().Value, "$") && e.GetToken().Next != nil && e.GetToken().Next.Value == "{" {
		hint = `; within { } and [ ] write "${...}" in quotes`
	}
	said := e.GetMessage()
	if strings.Contains(said, "\t") || strings.Contains(said, "tab character") {
		hint = "; YAML is indented with spaces, never with tabs"
	}
	d.problem(v, "is not YAML: %s%s", said, hint)
}

// anchors collects the anchors of a document.
type anchors struct{ d *decoder }

func (a anchors) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		name := anchor.Name.GetToken().Value
		if first, twice := a.d.anchors[name]; twice {
			a.d.problem(value{at: placeOf(anchor.GetToken())}, "the anchor &%s stands twice, first in line %d: give it another name",
				name, first.GetToken().Position.Line)
			return a
		}
		a.d.anchors[name] = anchor
	}
	return a
}

// config reads the top of the file.
func (d *decoder) config(c *Config, top value) {
	found := d.object(top, table{
		what:  "the configuration",
		first: "presets",
		fields: []field{
			{"data_dir", d.path(&c.DataDir)},
			{"control", func(v value) {
				d.path(&c.Control)(v)
				if n := len(c.Control); n > maxSocket {
					d.problem(v, "has %d bytes, and the system takes %d for a socket: write a shorter one", n, maxSocket)
				}
			}},
			{"log", func(v value) { d.object(v, d.logTable(&c.Log)) }},
			{"web", func(v value) { d.object(v, d.webTable(&c.Web)) }},
			{"store", func(v value) { d.object(v, d.storeTable(&c.Store)) }},
			{"presets", d.path(&d.presets)},
			{"sources", func(v value) { d.sources(v, c) }},
			{"sinks", func(v value) { d.sinks(v, c) }},
		},
		below: map[string][]string{
			"log": d.logTable(&Log{}).keys(), "web": d.webTable(&Web{}).keys(), "store": d.storeTable(&Store{}).keys(),
		},
	})
	for _, section := range []string{"sources", "sinks"} {
		if v, ok := found[section]; !ok {
			d.problemAtKey(value{path: section, key: top.key}, "is missing: there must be at least one")
		} else if v.node == nil && !d.broken[section] {
			d.problemAtKey(v, "is empty: there must be at least one")
		}
	}
	d.defaultPlaces(c)
}

func (d *decoder) logTable(l *Log) table {
	level := "info"
	return table{what: "log", fields: []field{
		{"level", func(v value) {
			d.oneOf(&level, "debug", "info", "warn", "error")(v)
			_ = l.Level.UnmarshalText([]byte(level)) // one of the four
		}},
		{"format", d.oneOf(&l.Format, "auto", "text", "json")},
	}}
}

func (d *decoder) storeTable(s *Store) table {
	return table{what: "store", fields: []field{
		{"remember", d.duration(&s.Remember, time.Hour, forever)},
		{"keep", d.duration(&s.Keep, 0, forever)},
		{"max_size", d.size(&s.MaxSize, 16<<20, "16MiB")},
		{"min_free", d.size(&s.MinFree, 0, "0")},
	}}
}

// path reads the path of a file or directory into to; a relative one starts at the configuration's directory.
func (d *decoder) path(to *string) func(value) {
	return func(v value) {
		if s, ok := d.text(v, "a path"); ok {
			*to = d.abs(s.text)
		}
	}
}

func (d *decoder) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.dir, path)
}

// defaultPlaces fills in where data and control socket are.
func (d *decoder) defaultPlaces(c *Config) {
	if c.DataDir == "" {
		if state := d.systemdDirectory("STATE_DIRECTORY"); state != "" {
			c.DataDir = state
		} else if strings.HasPrefix(d.dir+"/", "/etc/") {
			c.DataDir = "/var/lib/tidings"
		} else {
			c.DataDir = filepath.Join(d.dir, "tidings-data")
		}
	}
	if c.Control == "" {
		const common = "/run/tidings/control.sock"
		if runtime := d.systemdDirectory("RUNTIME_DIRECTORY"); runtime != "" {
			c.Control = filepath.Join(runtime, "control.sock")
		} else if d.env.exists(common) {
			c.Control = common
		} else {
			c.Control = filepath.Join(c.DataDir, "control.sock")
		}
	}
}

// systemdDirectory returns the first of the directories that systemd made for the unit, of which it may name several
// (systemd.exec(5), RuntimeDirectory=).
func (d *decoder) systemdDirectory(variable string) string {
	dirs, _ := d.env.lookup(variable)
	first, _, _ := strings.Cut(dirs, ":")
	if !filepath.IsAbs(first) {
		return ""
	}
	return filepath.Clean(first)
}
