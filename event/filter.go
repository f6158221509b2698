package event

import "strings"

// Filter is a set of globs; it passes what any one of them matches. In a glob `*` stands for any run of characters, dots
// included, and everything else for itself. The empty filter passes nothing.
type Filter []string

// Match reports whether the filter passes name.
func (f Filter) Match(name string) bool {
	for _, glob := range f {
		if match(glob, name) {
			return true
		}
	}
	return false
}

func match(glob, name string) bool {
	parts := strings.Split(glob, "*")
	if len(parts) == 1 {
		return glob == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(name, first) {
		return false
	}
	name = name[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = rest
	}
	return strings.HasSuffix(name, last)
}
