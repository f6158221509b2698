package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxPath is the longest path of a unix socket on Linux: sun_path less its ending NUL, unix(7).
const maxPath = 107

const socketMode = 0o660

// ErrNoDaemon: nobody listens on the control socket.
var ErrNoDaemon = errors.New("no daemon listens there")

// CheckPath says why no socket can ever have this path, if none can.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("the control socket's path has %d bytes, and a socket's path at most %d: set `control` to a shorter one than %s",
			len(path), maxPath, path)
	}
	return nil
}

// Listen makes the control socket at path, for its owner and group. It replaces a socket that a daemon left behind, and
// nothing else. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("the control socket %s can't be made: there is no directory %s; make it, or set `control` to another path",
			path, dir)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// The mode of an unbound socket bounds that of its file: at no instant is it open to others.
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), socketMode) }); e != nil {
			return e
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // past the umask
		_ = l.Close()
		return nil, fmt.Errorf("opening the control socket to its group: %w", err)
	}
	return l, nil
}

// removeStale removes a socket at path that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("the control socket %s can't be made: a file that is no socket is there; move it away, or set `control` to another path",
			path)
	}
	conn, err := connect(context.Background(), path)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("another tidings listens on the control socket %s: stop it, or set `control` to another path", path)
	case !errors.Is(err, ErrNoDaemon):
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the control socket that a former run left: %w", err)
	}
	return nil
}

// connect dials the socket at path. ErrNoDaemon: nobody listens.
func connect(ctx context.Context, path string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return conn, nil
	case len(path) > maxPath:
		return nil, fmt.Errorf("the path is longer than a socket's may be (%d bytes)", maxPath)
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, ErrNoDaemon
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("you may not open the control socket: run this as root, or as a member of its group")
	}
	return nil, fmt.Errorf("connecting to the control socket: %w", err)
}
