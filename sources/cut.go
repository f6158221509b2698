package sources

import (
	"strings"

	"github.com/tidwall/gjson"
)

// special are the characters that make a path of gjson more than keys with dots between them.
const special = "|#@*?!{}[]()=<>%\\\""

// array finds the array at a path of valid JSON; an empty path is the document. Where it can it returns the array with what stands
// behind it, since looking for the end of a long one costs as much as going through it: elements sees the end.
func array(doc gjson.Result, path string) gjson.Result {
	if path == "" {
		return doc
	}
	if strings.ContainsAny(path, special) { // one that can match in several places does so by what follows
		return doc.Get(path)
	}
	first := doc.Get(path + ".0")
	if at := first.Index - doc.Index; at > 0 && at < len(doc.Raw) && first.Raw != "" && strings.HasPrefix(doc.Raw[at:], first.Raw) {
		if before := strings.TrimRight(doc.Raw[:at], " \t\r\n"); strings.HasSuffix(before, "[") {
			return gjson.Result{Type: gjson.JSON, Raw: doc.Raw[len(before)-1:]}
		}
	}
	return doc.Get(path)
}

// elements calls f for each element of an array, until it returns false.
func elements(array gjson.Result, f func(element gjson.Result) bool) {
	array.Index, array.Indexes = 0, nil // so that an element's index is its place in Raw
	array.ForEach(func(_, element gjson.Result) bool {
		if !f(element) {
			return false
		}
		for i := element.Index + len(element.Raw); i < len(array.Raw); i++ {
			switch array.Raw[i] {
			case ' ', '\t', '\r', '\n':
			default:
				return array.Raw[i] == ','
			}
		}
		return false
	})
}

// keys are three keys of an item that are looked for at once, each the empty value where the item has it not.
type keys [3]string

// plain reports whether all are keys of the item itself, or empty.
func (k keys) plain() bool {
	return !strings.ContainsAny(k[0]+k[1]+k[2], "."+special)
}

// of finds the values of the keys.
func (k keys) of(object gjson.Result) (values [3]gjson.Result) {
	left := 0
	for _, key := range k {
		if key != "" {
			left++
		}
	}
	if left == 0 {
		return values
	}
	object.ForEach(func(key, value gjson.Result) bool {
		for i := range k {
			if k[i] != "" && k[i] == key.Str && values[i].Raw == "" { // the first of several counts
				values[i] = value
				left--
			}
		}
		return left > 0
	})
	return values
}
