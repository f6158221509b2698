package admin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// NewLogger makes a logger that writes to w. Format "json" is a JSON object a line and "text" slog's text; "auto" suits w:
// colour on a terminal, priorities and no time under journald, text elsewhere.
func NewLogger(w *os.File, level slog.Leveler, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	switch {
	case format == "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case format == "text":
		return slog.New(slog.NewTextHandler(w, options))
	case isJournal(w):
		return slog.New(newJournal(w, level))
	case term.IsTerminal(int(w.Fd())):
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !Colour(w)}))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Colour reports whether colour may be written to w: it is a terminal that has it, and the user did not ask for none
// (https://no-color.org).
func Colour(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// isJournal reports whether w is the stream to journald that $JOURNAL_STREAM names, as device:inode. The variable alone says
// little: a child inherits it with another stderr (systemd.exec(5)).
func isJournal(w *os.File) bool {
	stream := os.Getenv("JOURNAL_STREAM")
	if stream == "" {
		return false
	}
	info, err := w.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal writes lines as journald takes them from a stream: "<priority>message key=value…" (sd-daemon(3)), without a time,
// since journald notes it.
type journal struct {
	text slog.Handler // writes the attributes to buf
	out  *journalOut
}

// journalOut is shared by a handler and those made from it.
type journalOut struct {
	mu  sync.Mutex
	w   io.Writer
	buf bytes.Buffer
}

func newJournal(w io.Writer, level slog.Leveler) *journal {
	out := &journalOut{w: w}
	return &journal{out: out, text: slog.NewTextHandler(&out.buf, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

func (j *journal) Enabled(ctx context.Context, level slog.Level) bool {
	return j.text.Enabled(ctx, level)
}

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	j.out.mu.Lock()
	defer j.out.mu.Unlock()
	buf := &j.out.buf
	buf.Reset()
	fmt.Fprintf(buf, "<%d>%s ", priority(r.Level), strings.ReplaceAll(r.Message, "\n", " "))
	if err := j.text.Handle(ctx, r); err != nil {
		return err
	}
	line := append(bytes.TrimRight(buf.Bytes(), " \n"), '\n')
	_, err := j.out.w.Write(line)
	return err
}

func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journal{j.text.WithAttrs(attrs), j.out}
}

func (j *journal) WithGroup(name string) slog.Handler { return &journal{j.text.WithGroup(name), j.out} }

// priority is the syslog priority of a level.
func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}
