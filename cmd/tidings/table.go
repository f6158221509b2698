package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// table prints rows in columns, without spaces at the end of a line. The first row is the header. What comes from outside is
// made printable, so that no event and no answer moves the terminal's cursor.
type table struct {
	colour bool
	rows   [][]string
	codes  []string // of each row's state, which is its second column; "" for none
	notes  map[int]string
}

func (t *table) add(code string, cells ...string) {
	t.rows = append(t.rows, cells)
	t.codes = append(t.codes, code)
}

// note adds a line below the last row, which takes part in no column; an empty one adds none.
func (t *table) note(text string) {
	if text == "" {
		return
	}
	if t.notes == nil {
		t.notes = map[int]string{}
	}
	t.notes[len(t.rows)-1] = text
}

// plain is the terminal's own colour. Every cell of a coloured column gets a code of the same length, so that the columns
// stay even to a writer that counts the codes as text.
const plain = "39"

func (t *table) print(out io.Writer) error {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 3, ' ', 0)
	for i, row := range t.rows {
		cells := make([]string, len(row))
		for j, cell := range row {
			cells[j] = printable(cell)
		}
		if t.colour {
			code := t.codes[i]
			if code == "" {
				code = plain
			}
			cells[1] = "\x1b[" + code + "m" + cells[1] + "\x1b[0m"
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	row := 0
	for line := range strings.Lines(buf.String()) {
		text := strings.TrimRight(line, " \n")
		if note := t.notes[row]; note != "" {
			text += "\n    " + printable(note)
		}
		if _, err := fmt.Fprintln(out, text); err != nil {
			return err
		}
		row++
	}
	return nil
}

// printable is text on one line, with control characters and what is no text escaped.
func printable(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(text[i:], string(r)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r != ' ' && !unicode.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// printableLines is a text of many lines, each printable, with tabs as spaces.
func printableLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, printable(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")))
	}
	return lines
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// cut shortens text to at most n characters.
func cut(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}

// ago says how long before now t was, or how long after; "-" for no time.
func ago(t *time.Time, now time.Time) string {
	switch {
	case t == nil || t.IsZero():
		return "-"
	case t.After(now):
		return "in " + span(t.Sub(now))
	}
	return span(now.Sub(*t)) + " ago"
}

// span is a duration in its largest unit, rounded down.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

// bytesText is a size in the largest binary unit that leaves at least one of it.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, i := float64(n), 0
	for ; value >= 1024 && i < len(units)-1; i++ {
		value /= 1024
	}
	return strconv.FormatFloat(value, 'f', min(i, 1), 64) + " " + units[i]
}

// capital begins text with a capital letter.
func capital(text string) string {
	r, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return text
	}
	return string(unicode.ToUpper(r)) + text[size:]
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
