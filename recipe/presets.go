package recipe

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
)

//go:embed presets/*.yaml
var presets embed.FS

// maxPreset bounds a preset's file, and maxTokens the words and signs in it: the YAML parser takes quadratic time.
const (
	maxPreset = 64 << 10
	maxTokens = 10_000
)

// Names lists the presets, sorted.
func Names() []string {
	entries, err := presets.ReadDir("presets")
	if err != nil {
		panic(err) // the directory is part of the binary
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Text returns the YAML of a preset. The error of an unknown name says which there are.
func Text(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("there is no preset %q; there is %s", name, strings.Join(Names(), ", "))
	}
	return presets.ReadFile(path.Join("presets", name+".yaml"))
}

// Find returns a preset, the caller's to change. The error of an unknown name says which there are.
func Find(name string) (*Preset, error) {
	text, err := Text(name)
	if err != nil {
		return nil, err
	}
	p, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read the preset %s: %w", name, err)
	}
	return p, nil
}

// IsFile reports whether what stands for a preset is the path of a user's own file: it has a slash in it, or ends in .yaml or .yml.
func IsFile(name string) bool {
	return strings.Contains(name, "/") || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// ReadFile returns the YAML of a user's own preset.
func ReadFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the preset: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPreset+1))
	if err != nil {
		return nil, fmt.Errorf("read the preset: %w", err)
	}
	return text, nil
}

// Parse reads a preset and checks it. Its error names every fault of it in one line.
func Parse(text []byte) (*Preset, error) {
	if len(text) > maxPreset {
		return nil, fmt.Errorf("it is longer than %d KiB", maxPreset>>10)
	}
	if len(lexer.Tokenize(string(text))) > maxTokens {
		return nil, fmt.Errorf("it has more than %d words and signs", maxTokens)
	}
	p := new(Preset)
	if err := yaml.UnmarshalWithOptions(text, p, yaml.Strict()); err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
			return nil, fmt.Errorf("line %d, column %d: %s", e.GetToken().Position.Line, e.GetToken().Position.Column, e.GetMessage())
		}
		return nil, errors.New("it is not YAML")
	}
	problems := p.problems()
	if len(problems) == 0 {
		return p, nil
	}
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.Path + " " + problem.Text
	}
	return nil, errors.New(strings.Join(texts, "; "))
}

// problems returns everything that is wrong with the preset.
func (p *Preset) problems() []Problem {
	c := &check{}
	if !feedName.MatchString(p.Name) {
		c.add("name", "is %q; want 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit", p.Name)
	}
	base, ok := p.With["base_url"]
	if !ok || base.Secret || !base.Required && base.Default == "" {
		c.add("with.base_url", "is missing, a secret or without a value; every preset says by it where its API is")
	}
	for _, name := range slices.Sorted(maps.Keys(p.With)) {
		path, param := "with."+name, p.With[name]
		if !asName.MatchString(name) || slices.Contains([]string{"query", "cursor", "start", "id", "ids"}, name) {
			c.add(path, "can't be a parameter's name; want a-z, 0-9 and _, and none of query, cursor, start, id and ids")
		}
		if param.About == "" {
			c.add(path+".about", "is missing; it says what the parameter is")
		}
		if param.Required && param.Default != "" {
			c.add(path+".default", "is of no use: the parameter is required")
		}
	}
	identity, err := ParseTemplate(p.Identity)
	if err != nil {
		c.add("identity", "%v", err)
	} else if len(identity.Names()) == 0 {
		c.add("identity", "has no parameter; it tells one account from another, such as {base_url} {account_id}")
	}
	for _, name := range identity.Names() {
		if _, ok := p.With[name]; !ok {
			c.add("identity", "has {%s}, which is not in with", name)
		}
	}
	c.problems = append(c.problems, Problems(&p.HTTP, p.Feeds)...)
	used := identity.Names()
	for _, ref := range Refs(&p.HTTP, p.Feeds) {
		used = append(used, ref.Name)
		param, ok := p.With[ref.Name]
		switch {
		case !ok:
			c.add(ref.Path, "has {%s}, which is not in with", ref.Name)
		case !param.Required && param.Default == "" && !ref.optional():
			c.add(ref.Path, "has {%s}, which a user may leave out; make it required, or give it a default", ref.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.With)) {
		if !slices.Contains(used, name) {
			c.add("with."+name, "is used by nothing")
		}
	}
	return c.problems
}

// optional reports whether a missing value only leaves out the key of the template that needs it.
func (r Ref) optional() bool {
	parts := strings.Split(r.Path, ".")
	return len(parts) > 2 && slices.Contains([]string{"query", "headers", "first"}, parts[1]) || strings.Contains(r.Path, ".for_each.query.")
}
