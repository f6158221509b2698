package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"tidings/recipe"
)

// docs returns the YAML blocks of docs/sources.md: configurations, parts of a source, and presets.
func docs(t *testing.T) (whole, parts, presets []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```yaml( preset)?\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		switch {
		case m[1] != "":
			presets = append(presets, m[2])
		case regexp.MustCompile(`(?m)^sources:`).MatchString(m[2]):
			whole = append(whole, m[2])
		default:
			parts = append(parts, m[2])
		}
	}
	return whole, parts, presets
}

// docsEnv has every variable and file that the page may name.
func docsEnv(text string, presets []string) env {
	return env{
		lookup: func(string) (string, bool) { return "/value", true },
		readFile: func(path string) ([]byte, error) {
			switch path {
			case "/etc/tidings/config.yaml":
				return []byte(text), nil
			case "/etc/tidings/presets/vendor.yaml":
				return []byte(presets[0]), nil
			}
			return []byte("value\n"), nil
		},
		exists: func(path string) bool { return path == "/etc/tidings/presets/vendor.yaml" },
	}
}

func TestDocsConfigurationsAreValid(t *testing.T) {
	whole, _, presets := docs(t)
	shown := map[string]bool{}
	for _, text := range whole {
		c, problems, err := load("/etc/tidings/config.yaml", docsEnv(text, presets), nil)
		if err != nil || len(problems.Problems) > 0 {
			t.Errorf("%v\n%v\nof\n%s", err, problems, text)
			continue
		}
		if lines := strings.Count(text, "\n"); lines <= 12 {
			shown[c.Sources[0].Preset] = true
		}
	}
	for _, name := range recipe.Names() {
		if !shown[name] {
			t.Errorf("docs/sources.md has no twelve lines that start the preset %s", name)
		}
	}
	for _, text := range presets {
		if _, err := recipe.Parse([]byte(text)); err != nil {
			t.Errorf("%v\nof\n%s", err, text)
		}
	}
}

// Every key of a recipe has an example on the page, and every example is sound.
func TestDocsShowEveryKeyOfARecipe(t *testing.T) {
	_, parts, presets := docs(t)
	shown := map[string]bool{}
	for _, part := range parts {
		text := "sources:\n  example:\n    " + strings.ReplaceAll(strings.TrimSpace(part), "\n", "\n    ") + "\n" + goodSink
		c, problems, err := load("/etc/tidings/config.yaml", docsEnv(text, presets), nil)
		if err != nil || len(problems.Problems) > 0 {
			t.Errorf("%v\n%v\nof\n%s", err, problems, part)
			continue
		}
		s := c.Sources[0]
		mark(shown, "", reflect.ValueOf(s.HTTP))
		for _, f := range s.Feeds {
			mark(shown, "", reflect.ValueOf(f.HTTP))
		}
	}
	var keys []string
	recipeKeys("", reflect.TypeFor[recipe.HTTP](), &keys)
	for _, key := range keys {
		if !shown[key] {
			t.Errorf("docs/sources.md has no example of %s", key)
		}
	}
}

// mark takes note of each key that has a value.
func mark(shown map[string]bool, prefix string, of reflect.Value) {
	switch of.Kind() {
	case reflect.Pointer:
		if !of.IsNil() {
			mark(shown, prefix, of.Elem())
		}
	case reflect.Slice:
		for i := range of.Len() {
			mark(shown, prefix, of.Index(i))
		}
	case reflect.Struct:
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Type().Field(i).Tag.Get("yaml"), ",")
			if !of.Field(i).IsZero() {
				shown[prefix+key] = true
				mark(shown, prefix+key+".", of.Field(i))
			}
		}
	}
}

// recipeKeys lists the keys of a recipe's types by their path.
func recipeKeys(prefix string, of reflect.Type, keys *[]string) {
	for field := range of.Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		*keys = append(*keys, prefix+key)
		inner := field.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			recipeKeys(prefix+key+".", inner, keys)
		}
	}
}

// Each preset and each key of a source has its place on the page.
func TestDocsNameEveryPresetAndKey(t *testing.T) {
	page, err := os.ReadFile("../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range recipe.Names() {
		section := regexp.MustCompile(fmt.Sprintf(`(?ms)^## %s$(.*?)^## `, name)).FindStringSubmatch(string(page))
		if section == nil || !strings.Contains(section[1], "**What it promises.**") || !strings.Contains(section[1], "vendor leaves undefined") && name != "github" {
			t.Errorf("docs/sources.md does not say what %s promises, and what its vendor leaves undefined", name)
		}
	}
	var keys []string
	_, _, err = load("/c.yaml", fakeEnv(nil, map[string]string{"/c.yaml": "sources: {a: {exec: {}, tls: {}}}"}), func(path string, found []string) {
		if strings.HasPrefix(path, "sources.a") {
			keys = append(keys, found...)
		}
	})
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, key := range keys {
		if !regexp.MustCompile("`" + key + "[`:]|(?m)^ *" + key + ":( |$)").Match(page) {
			t.Errorf("docs/sources.md does not tell of %s", key)
		}
	}
}
