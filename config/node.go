package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxValues bounds what aliases and merges expand to. Without them a file of maxTokens has no more.
const maxValues = maxTokens / 2

func placeOf(t *token.Token) Place { return Place{t.Position.Line, t.Position.Column} }

// begin is where a node begins; the parser's own place of a mapping without braces is its first colon.
func begin(n ast.Node) Place {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return placeOf(m.Values[0].Key.GetToken())
	}
	return placeOf(n.GetToken())
}

// value is one value of the file: where it stands, and its node with anchors, aliases and tags taken off. The node is nil
// where the file has none (a key without a value).
type value struct {
	path string
	key  Place // of its key, or of the list item
	at   Place
	node ast.Node
	text bool // tagged !!str: text, whatever it looks like
}

// entry is one key of a mapping with its value.
type entry struct {
	key string
	value
}

// child makes the value that stands at key under v.
func (d *decoder) child(path string, key Place, n ast.Node) value {
	v := value{path: path, key: key, at: key}
	for n != nil {
		if !d.spend(v) {
			return value{path: path, key: key, at: key}
		}
		switch t := n.(type) {
		case *ast.AnchorNode:
			n = t.Value
		case *ast.AliasNode:
			v.at = placeOf(t.GetToken())
			target := d.anchors[t.Value.GetToken().Value]
			if target == nil || !before(target, t) {
				d.problem(v, "no anchor &%s stands before this alias", t.Value.GetToken().Value)
				return v
			}
			n = target.Value
		case *ast.TagNode:
			if tag := t.GetToken().Value; tag != "!!str" {
				v.at = placeOf(t.GetToken())
				d.problem(v, "has the tag %s, and tags mean nothing here: remove it", tag)
				return v
			}
			v.text = true
			n = t.Value
		case *ast.NullNode:
			return v
		default:
			v.node, v.at = n, begin(n)
			return v
		}
	}
	return v
}

func before(a *ast.AnchorNode, b *ast.AliasNode) bool {
	pa, pb := a.GetToken().Position, b.GetToken().Position
	return pa.Line < pb.Line || pa.Line == pb.Line && pa.Column < pb.Column
}

// spend takes one from the budget of values; the first time that nothing is left is a problem, and nothing more is read.
func (d *decoder) spend(v value) bool {
	d.budget--
	if d.budget == 0 {
		d.problem(v, "the file's aliases stand for more than %d values: write them out, or fewer", maxValues)
	}
	return d.budget > 0
}

// entries returns the keys of a mapping in the file's order, merged ones after its own. Keys that are doubled or no text
// are problems and left out. A mapping without keys may be written as nothing at all.
func (d *decoder) entries(v value) []entry {
	switch n := v.node.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		return d.mapping(v, n, map[string]Place{})
	}
	d.problem(v, "is %s, and must be a mapping (key: value)", describe(v))
	return nil
}

func (d *decoder) mapping(v value, n *ast.MappingNode, seen map[string]Place) []entry {
	var found []entry
	var merged []ast.Node
	own := map[string]Place{}
	for _, pair := range n.Values {
		key := pair.Key.GetToken()
		at := placeOf(key)
		if _, ok := pair.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, pair.Value)
			continue
		}
		name, ok := keyText(pair.Key)
		if !ok {
			d.problem(value{path: v.path, at: at}, "has a key that is not text")
			continue
		}
		path := join(v.path, name)
		if first, twice := own[name]; twice {
			d.problem(value{path: path, at: at}, "stands twice in this mapping, first in line %d: remove one", first.Line)
			continue
		}
		own[name] = at
		if _, hidden := seen[name]; hidden {
			continue
		}
		seen[name] = at
		found = append(found, entry{name, d.child(path, at, pair.Value)})
	}
	for _, from := range merged {
		found = append(found, d.merged(v, from, seen)...)
	}
	return found
}

// merged returns what `<<` brings into v: the keys of a mapping, or of several, that v does not have itself.
func (d *decoder) merged(v value, from ast.Node, seen map[string]Place) []entry {
	m := d.child(join(v.path, "<<"), placeOf(from.GetToken()), from)
	switch n := m.node.(type) {
	case *ast.MappingNode:
		return d.mapping(v, n, seen)
	case *ast.SequenceNode:
		var found []entry
		for _, item := range n.Values {
			if _, nested := item.(*ast.SequenceNode); nested {
				break
			}
			found = append(found, d.merged(v, item, seen)...)
		}
		return found
	}
	if !d.broken[m.path] {
		d.problem(m, "is %s, and must be an alias of a mapping, or a list of such", describe(m))
	}
	return nil
}

func keyText(n ast.MapKeyNode) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// items returns the values of a list.
func (d *decoder) items(v value) []value {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		d.wrong(v, "a list ([a, b])")
		return nil
	}
	items := make([]value, len(n.Values))
	for i, item := range n.Values {
		items[i] = d.child(fmt.Sprintf("%s[%d]", v.path, i), placeOf(item.GetToken()), item)
		d.seen[items[i].path] = items[i]
	}
	return items
}

// wrong says that v is of another type than want.
func (d *decoder) wrong(v value, want string) {
	switch {
	case d.broken[v.path]:
	case v.node == nil:
		d.problem(v, "has no value: write %s, or remove the key", want)
	default:
		d.problem(v, "is %s, and must be %s", describe(v), want)
	}
}

// describe says what kind of value v is, and never which.
func describe(v value) string {
	if v.text {
		return "text"
	}
	switch v.node.(type) {
	case nil:
		return "nothing"
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	}
	return "of another kind"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
