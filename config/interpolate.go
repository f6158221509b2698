package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// maxSecret bounds the content of a file or credential that stands for a value.
const maxSecret = 64 << 10

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// part is a piece of a text value: literal text, or a reference such as ${env:NAME} when kind is set.
type part struct {
	text string // the literal text, or the reference's name
	kind string // env, file or credential
}

// split cuts a text value into its parts; `$${` in it becomes escaped, a literal `${`. The error says what is wrong with the text.
func split(text, escaped string) ([]part, error) {
	var parts []part
	var literal strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, "$${"):
			literal.WriteString(escaped)
			text = text[3:]
		case strings.HasPrefix(text, "${"):
			inside, rest, closed := strings.Cut(text[2:], "}")
			if !closed {
				return nil, errors.New(`has a "${" without its "}": close it, or write "$${" for a literal "${"`)
			}
			kind, name, _ := strings.Cut(inside, ":")
			if err := checkReference(kind, name); err != nil {
				return nil, err
			}
			if literal.Len() > 0 {
				parts = append(parts, part{text: literal.String()})
				literal.Reset()
			}
			parts = append(parts, part{name, kind})
			text = rest
		default:
			literal.WriteByte(text[0])
			text = text[1:]
		}
	}
	if literal.Len() > 0 {
		parts = append(parts, part{text: literal.String()})
	}
	return parts, nil
}

func checkReference(kind, name string) error {
	switch kind {
	case "env":
		if !envName.MatchString(name) {
			return errors.New(`has an "${env:NAME}" whose name is not that of an environment variable (letters, digits and _)`)
		}
	case "file":
		if name == "" || strings.ContainsRune(name, 0) {
			return errors.New(`has a "${file:PATH}" without a path`)
		}
	case "credential":
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return errors.New(`has a "${credential:NAME}" whose name is not that of a file: a credential has no directories in its name`)
		}
	default:
		return errors.New(`has a "${...}" that is none of ${env:NAME}, ${file:PATH} and ${credential:NAME}; write "$${" for a literal "${"`)
	}
	return nil
}

// interpolated reports whether text refers to anything outside the file.
func interpolated(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.kind != "" })
}

// resolve returns what a reference stands for, once per reference and load. A problem at v says why it can't be had.
func (d *decoder) resolve(v value, p part) (string, bool) {
	if text, ok := d.resolved[p]; ok {
		return text, true
	}
	var text string
	var ok bool
	switch p.kind {
	case "env":
		if text, ok = d.env.lookup(p.text); !ok {
			d.problem(v, "the environment variable %s is not set", p.text)
		}
	case "file":
		path := d.abs(p.text)
		text, ok = d.readSecret(v, path, "the file "+path, "")
	case "credential":
		text, ok = d.credential(v, p.text)
	}
	if ok {
		d.resolved[p] = text
	}
	return text, ok
}

func (d *decoder) credential(v value, name string) (string, bool) {
	load := "with systemd, add LoadCredential=" + name + ":/PATH/TO/IT to the unit"
	dir, ok := d.env.lookup("CREDENTIALS_DIRECTORY")
	if !ok || dir == "" {
		d.problem(v, "the credential %s is not there: %s; without it, set $CREDENTIALS_DIRECTORY to a directory with a file of that name",
			name, load)
		return "", false
	}
	return d.readSecret(v, filepath.Join(dir, name), "the credential "+name, ": "+load)
}

// readSecret reads a small file and takes one trailing newline off.
func (d *decoder) readSecret(v value, path, what, hint string) (string, bool) {
	data, err := d.env.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.problem(v, "%s does not exist%s", what, hint)
	case err != nil:
		d.problem(v, "%s can't be read: %s", what, cause(err))
	case len(data) > maxSecret:
		d.problem(v, "%s is longer than 64 KiB: it is hardly a secret", what)
	default:
		return secretText(data), true
	}
	return "", false
}

// secretText is a file's content without its last newline.
func secretText(data []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
}

// cause is err without the operation and the path, which the sentence around it names.
func cause(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}
