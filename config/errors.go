package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Errors is all that is wrong with one configuration file, in the order of its lines. Never empty when returned.
type Errors struct {
	File     string // as the user named it
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	Place
	Path string // path.to.field; empty for the file as a whole
	Text string // what is wrong, and what would be right; no secrets
}

// Error returns the problems, one a line, as FILE:LINE:COLUMN: path.to.field: text.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		path := ""
		if p.Path != "" {
			path = p.Path + ": "
		}
		lines[i] = fmt.Sprintf("%s:%d:%d: %s%s", e.File, p.Line, p.Column, path, p.Text)
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) sort() {
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	e.Problems = slices.Compact(e.Problems)
}
