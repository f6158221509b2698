package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"tidings/event"
)

// piece is a part of a value: text, or the file that its text stands in.
type piece struct{ text, file string }

// rereadable takes note of what v is made of, if any of it stands in a file, so that parameter can be read again.
func (d *decoder) rereadable(parameter string, v value) {
	raw, _, _ := written(v)
	parts, err := split(raw, "${")
	if err != nil {
		return // a problem of v
	}
	d.rereadableAs(parameter, parts...)
}

func (d *decoder) rereadableAs(parameter string, parts ...part) {
	var pieces []piece
	outside := false
	for _, p := range parts {
		switch p.kind {
		case "file":
			pieces = append(pieces, piece{file: d.abs(p.text)})
			outside = true
		case "credential":
			dir, _ := d.env.lookup("CREDENTIALS_DIRECTORY")
			pieces = append(pieces, piece{file: filepath.Join(dir, p.text)})
			outside = true
		case "env":
			text, _ := d.env.lookup(p.text)
			pieces = append(pieces, piece{text: text})
		default:
			pieces = append(pieces, piece{text: p.text})
		}
	}
	if outside {
		d.files[parameter] = pieces
	}
}

// reloader makes a source's Reload; identify gives the identity that values make.
func reloader(
	s Source, files map[string][]piece, identify func(map[string]event.Secret) string, readFile func(string) ([]byte, error),
) func() (map[string]event.Secret, error) {
	values, identity := s.Values, s.Identity
	if len(files) == 0 {
		return nil
	}
	return func() (map[string]event.Secret, error) {
		now := maps.Clone(values)
		for _, parameter := range slices.Sorted(maps.Keys(files)) {
			var text strings.Builder
			for _, p := range files[parameter] {
				if p.file == "" {
					text.WriteString(p.text)
					continue
				}
				data, err := readFile(p.file)
				if err != nil {
					return nil, fmt.Errorf("read %s again: %s; the values that it had stay in use", p.file, cause(err))
				}
				content := secretText(data)
				if content == "" || len(content) > maxSecret || strings.ContainsFunc(content, unicode.IsControl) {
					return nil, fmt.Errorf("read %s again: it is empty, longer than 64 KiB or has a control character in it; "+
						"the values that it had stay in use", p.file)
				}
				text.WriteString(content)
			}
			value := text.String()
			if parameter == "base_url" {
				value = strings.TrimRight(value, "/")
			}
			now[parameter] = event.NewSecret(value)
		}
		if identify != nil && identify(now) != identity {
			return nil, errors.New("the files of the values name another account or API now, which is another source; " +
				"restart with --accept-reset to start anew with it; the values that it had stay in use")
		}
		return now, nil
	}
}
