package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms says which of our rooms each room may import. A room that is missing here, or a line without its room, is an error:
// who builds a room decides what it may know.
var rooms = map[string][]string{
	"event":     {},
	"recipe":    {},
	"simulator": {},
	"poller":    {"event"},
	"store":     {"event"},
	"dispatch":  {"event"},
	"admin":     {"event"},
	"config":    {"recipe", "event"},
	"sources":   {"poller", "recipe", "event"},
	"sinks":     {"dispatch", "event"},
	"cmd":       {"admin", "config", "dispatch", "event", "poller", "recipe", "simulator", "sinks", "sources", "store"},
}

// inTests says what the tests of a room may import besides. Those of every room may import the simulator.
var inTests = map[string][]string{
	"store": {"admin", "dispatch", "poller"}, // whose interfaces it is held to
}

// libraries says which rooms may import a library that only some may know. "event" imports the standard library only.
var libraries = map[string][]string{
	"go.etcd.io/bbolt":             {"store"},
	"github.com/spf13/cobra":       {"cmd"},
	"github.com/lmittmann/tint":    {"admin", "cmd"},
	"github.com/goccy/go-yaml":     {"config", "recipe"},
	"github.com/robfig/cron/v3":    {"config", "poller"},
	"github.com/lestrrat-go":       {"config", "sinks"},
	"golang.org/x/oauth2":          {"sources"},
	"github.com/coreos/go-systemd": {"admin", "cmd"},
	"github.com/prometheus":        {"admin"},
}

const module = "tidings"

func TestEveryRoomImportsOnlyWhatItMay(t *testing.T) {
	found := map[string]bool{}
	for _, file := range sourceFiles(t) {
		room, _, _ := strings.Cut(file.path, "/")
		found[room] = true
		may, known := rooms[room]
		if !known {
			t.Errorf("%s: the room %s is not in the table of rooms", file.path, room)
			continue
		}
		if file.test {
			may = slices.Concat(may, inTests[room], []string{"simulator"})
		}
		for _, spec := range file.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if problem := judge(room, may, imported); problem != "" {
				t.Errorf("%s imports %s: %s", file.path, imported, problem)
			}
		}
	}
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		if !found[room] {
			t.Errorf("the table of rooms names %s, and there is no such room", room)
		}
	}
}

func TestImportRulesSeeWhatIsForbidden(t *testing.T) {
	for _, c := range []struct {
		room, imported string
		allowed        bool
	}{
		{"event", "time", true},
		{"event", "github.com/tidwall/gjson", false},
		{"event", "tidings/recipe", false},
		{"poller", "tidings/event", true},
		{"poller", "tidings/store", false},
		{"poller", "tidings/sources", false},
		{"sources", "tidings/poller", true},
		{"sinks", "tidings/store", false},
		{"sinks", "tidings/sinks/internal", true},
		{"dispatch", "tidings/sinks", false},
		{"admin", "tidings/config", false},
		{"store", "go.etcd.io/bbolt", true},
		{"store", "go.etcd.io/bbolt/errors", true},
		{"admin", "go.etcd.io/bbolt", false},
		{"cmd", "go.etcd.io/bbolt/errors", false},
		{"cmd", "tidings/store", true},
		{"simulator", "tidings/event", false},
	} {
		if problem := judge(c.room, rooms[c.room], c.imported); (problem == "") != c.allowed {
			t.Errorf("%s imports %s: allowed should be %t; the rules say %q", c.room, c.imported, c.allowed, problem)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, file := range sourceFiles(t) {
		if file.test {
			continue
		}
		folder := path.Dir(file.path)
		opening := "Package " + file.syntax.Name.Name + " "
		if file.syntax.Name.Name == "main" {
			opening = "Command " + path.Base(folder) + " "
		}
		documented[folder] = documented[folder] || strings.HasPrefix(file.syntax.Doc.Text(), opening)
	}
	for _, folder := range slices.Sorted(maps.Keys(documented)) {
		if !documented[folder] {
			t.Errorf("%s: no file begins with a comment that says what the package is", folder)
		}
	}
}

// judge says what is wrong with an import, or nothing.
func judge(room string, may []string, imported string) string {
	first, rest, _ := strings.Cut(imported, "/")
	if first == module {
		target, _, _ := strings.Cut(rest, "/")
		if target == room || slices.Contains(may, target) {
			return ""
		}
		return room + " may import " + list(may)
	}
	if room == "event" && strings.Contains(first, ".") {
		return "event imports the standard library only"
	}
	for library, owners := range libraries {
		if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(owners, room) {
			return library + " belongs to " + list(owners)
		}
	}
	return ""
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of ours"
	}
	return strings.Join(names, ", ")
}

type sourceFile struct {
	path   string // from the module's root, with slashes
	test   bool
	syntax *ast.File // package clause, its comment, and the imports
}

// sourceFiles returns every Go file of the module, those of other platforms included. The tools have a module of their own.
func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	root := os.DirFS("../..")
	var files []sourceFile
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := name != "." && strings.HasPrefix(entry.Name(), ".")
			if hidden || entry.Name() == "testdata" || name == "tools" {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, sourceFile{name, strings.HasSuffix(name, "_test.go"), syntax})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go file found: the test looks in the wrong place")
	}
	return files
}
