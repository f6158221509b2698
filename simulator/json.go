package simulator

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object whose members keep their order; a value is a string, bool, int, nil, literal, object or []any.
type object []member

type member struct {
	key   string
	value any
}

// literal is JSON text that is written as it stands: numbers that a float would not carry, strings with unusual escapes.
type literal string

// style is how JSON is spaced and escaped. Vendors differ, and so do the languages their services are written in.
type style struct {
	colon  string
	comma  string
	indent string // each member on a line of its own
	ascii  bool   // what is not ASCII as \u escapes
}

var styles = []style{
	{colon: ":", comma: ","},
	{colon: ": ", comma: ", "},
	{colon: ": ", comma: ",", indent: "  "},
	{colon: ": ", comma: ", ", ascii: true},
}

func (s style) append(b []byte, value any, depth int) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case literal:
		return append(b, v...)
	case string:
		return s.appendString(b, v)
	case object:
		b = append(b, '{')
		for i, m := range v {
			b = s.appendBreak(b, i, depth+1)
			b = append(s.appendString(b, m.key), s.colon...)
			b = s.append(b, m.value, depth+1)
		}
		return append(s.appendEnd(b, len(v), depth), '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			b = s.appendBreak(b, i, depth+1)
			b = s.append(b, item, depth+1)
		}
		return append(s.appendEnd(b, len(v), depth), ']')
	}
	panic(fmt.Sprintf("simulator: no JSON for a %T", value))
}

func (s style) appendBreak(b []byte, i, depth int) []byte {
	if i > 0 {
		b = append(b, s.comma...)
	}
	if s.indent != "" {
		b = append(append(b, '\n'), strings.Repeat(s.indent, depth)...)
	}
	return b
}

func (s style) appendEnd(b []byte, n, depth int) []byte {
	if s.indent != "" && n > 0 {
		b = append(append(b, '\n'), strings.Repeat(s.indent, depth)...)
	}
	return b
}

func (s style) appendString(b []byte, text string) []byte {
	b = append(b, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n' && !s.ascii:
			b = append(b, `\n`...)
		case r < ' ', s.ascii && r >= utf8.RuneSelf && r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		case s.ascii && r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
