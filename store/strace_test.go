package store

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tracedCalls is what a recording needs: all that changes a file or a directory, all that syncs, and the lines on fd 1.
const tracedCalls = "pwrite64,pwritev,pwritev2,write,writev,fdatasync,fsync,sync_file_range,ftruncate,truncate,fallocate," +
	"rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,openat,copy_file_range,sendfile,splice,msync"

// call is one system call of a recording. A call that began and was interrupted in the record by others stands where it ended;
// one that never ended is not there, unless it is a write.
type call struct {
	name   string
	args   []arg
	ret    int
	failed bool
	began  bool // stands for the moment that a write began; its end is another call
}

// arg is an argument: a text, or a number or flags with the path that a descriptor stood for.
type arg struct {
	text []byte // of a quoted one
	word string
	path string
}

func (a arg) int() int {
	n, _ := strconv.ParseInt(a.word, 0, 64)
	return int(n)
}

// readTrace reads what `strace -f -y -xx` wrote. What it can't make sense of is an error: a recording is whole or worthless.
func readTrace(r io.Reader) ([]call, error) {
	var calls []call
	open := map[string]string{} // what began and has not ended, by thread
	in := bufio.NewReaderSize(r, 1<<20)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return calls, nil // a line that was cut off by the end is a call that never ended
		}
		if err != nil {
			return nil, err
		}
		thread, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		if !ok || strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---") || rest == "???( <detached ...>" {
			continue // the last is a thread that the end of the process met in no call
		}
		if head, ok := strings.CutSuffix(rest, "<unfinished ...>"); ok {
			open[thread] = strings.TrimSpace(head)
			c, err := readCall(open[thread] + ") = 0")
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			c.began = true
			calls = append(calls, c)
			continue
		}
		began := false
		if tail, ok := strings.CutPrefix(rest, "<... "); ok {
			_, tail, ok = strings.Cut(tail, "resumed>")
			if !ok {
				return nil, fmt.Errorf("line %d: %.80q", n, rest)
			}
			rest, began = open[thread]+tail, true
			delete(open, thread)
		}
		c, err := readCall(rest)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if !began {
			first := c
			first.began = true
			calls = append(calls, first)
		}
		calls = append(calls, c)
	}
}

func readCall(text string) (call, error) {
	name, rest, ok := strings.Cut(text, "(")
	if !ok {
		return call{}, fmt.Errorf("no call: %.80q", text)
	}
	c := call{name: name}
	for {
		rest = strings.TrimLeft(rest, ", ")
		if after, ok := strings.CutPrefix(rest, ")"); ok {
			rest = after
			break
		}
		var a arg
		switch {
		case rest == "":
			return c, fmt.Errorf("no end: %.80q", text)
		case rest[0] == '"':
			end := strings.IndexByte(rest[1:], '"') // in hexadecimal there is none inside
			if end < 0 {
				return c, fmt.Errorf("no closing quote: %.80q", text)
			}
			var err error
			if a.text, err = unhex(rest[1 : end+1]); err != nil {
				return c, err
			}
			rest = rest[end+2:]
			if strings.HasPrefix(rest, "...") {
				return c, fmt.Errorf("cut short by strace: %.80q", text)
			}
		case strings.IndexByte("[{", rest[0]) >= 0: // vectors and structures: none that matters here
			end := strings.IndexByte(rest, map[byte]byte{'[': ']', '{': '}'}[rest[0]])
			if end < 0 {
				return c, fmt.Errorf("no closing bracket: %.80q", text)
			}
			a.word, rest = rest[:end+1], rest[end+1:]
		default:
			end := strings.IndexAny(rest, "<,)")
			if end < 0 {
				return c, fmt.Errorf("no end: %.80q", text)
			}
			a.word, rest = strings.TrimSpace(rest[:end]), rest[end:]
			if rest[0] == '<' {
				path, after, ok := strings.Cut(rest[1:], ">")
				if !ok {
					return c, fmt.Errorf("no closing bracket: %.80q", text)
				}
				if raw, err := unhex(strings.TrimSuffix(path, "(deleted)")); err == nil {
					path = string(raw)
					if strings.HasSuffix(after, "(deleted)") {
						path = ""
					}
				}
				a.path, rest = path, strings.TrimPrefix(after, "(deleted)")
			}
		}
		c.args = append(c.args, a)
	}
	result, ok := strings.CutPrefix(strings.TrimSpace(rest), "=")
	if !ok {
		return c, fmt.Errorf("no result: %.80q", text)
	}
	words := strings.FieldsFunc(result, func(r rune) bool { return r == ' ' || r == '<' })
	if len(words) == 0 || words[0] == "?" {
		c.failed = true // the process ended in it
		return c, nil
	}
	n, err := strconv.ParseInt(words[0], 0, 64)
	if err != nil {
		return c, fmt.Errorf("its result: %.80q", text)
	}
	c.ret, c.failed = int(n), n < 0
	return c, nil
}

func unhex(s string) ([]byte, error) {
	if len(s)%4 != 0 {
		return nil, fmt.Errorf("not in hexadecimal: %.40q", s)
	}
	digits := make([]byte, 0, len(s)/2)
	for i := 0; i < len(s); i += 4 {
		if s[i] != '\\' || s[i+1] != 'x' {
			return nil, fmt.Errorf("not in hexadecimal: %.40q", s)
		}
		digits = append(digits, s[i+2], s[i+3])
	}
	_, err := hex.Decode(digits, digits)
	return digits[:len(digits)/2], err
}

func TestReadTrace(t *testing.T) {
	calls, err := readTrace(strings.NewReader(`30506 openat(AT_FDCWD<\x2f\x74>, "\x2f\x74\x2f\x78", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 5<\x2f\x74\x2f\x78>
30506 pwrite64(5<\x2f\x74\x2f\x78>, "\x68\x00", 2, 4096 <unfinished ...>
30507 fdatasync(5<\x2f\x74\x2f\x78>) = -1 EIO (Input/output error) (INJECTED)
30506 <... pwrite64 resumed>) = 2
30507 --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=1, si_uid=0} ---
30506 write(1<\x70\x69\x70\x65\x3a\x5b\x31\x5d>, "\x41\x0a", 2) = 2
30508 fsync(7<\x2f\x74\x2f\x79>(deleted)) = ?
30508 +++ killed by SIGKILL +++
30509 ???( <detached ...>
30506 write(1<\x2f\x74>, "\x41`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		got = append(got, fmt.Sprintf("%s %v %d %v", c.name, c.began, c.ret, c.failed))
	}
	want := []string{"openat true 5 false", "openat false 5 false", "pwrite64 true 0 false", "fdatasync true -1 true", "fdatasync false -1 true",
		"pwrite64 false 2 false", "write true 2 false", "write false 2 false", "fsync true 0 true", "fsync false 0 true"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
	if w := calls[5]; w.args[0].path != "/t/x" || !bytes.Equal(w.args[1].text, []byte{'h', 0}) || w.args[3].int() != 4096 {
		t.Fatalf("%+v", w)
	}
	for _, bad := range []string{`1 write(1<\x2f>, "\x41"..., 9) = 9`, `1 write(1, "abc", 3) = 3`, "1 what is this", "1 <... x) = 1"} {
		if _, err := readTrace(strings.NewReader(bad + "\n")); err == nil {
			t.Errorf("%s was taken for a call", bad)
		}
	}
}

// straced is the command line that puts strace, with options, before another; where it can't trace the test is skipped.
func straced(t testing.TB, trace string, options ...string) []string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: this proof can't run here")
	}
	if out, err := exec.Command(path, "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace can't trace here, so this proof can't run: %v: %s", err, out)
	}
	return append([]string{path, "-f", "-qq", "-y", "-xx", "-s", "16000000", "-o", trace}, options...)
}
