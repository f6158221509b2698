package main

import (
	"fmt"
	"io/fs"
	"testing"

	"tidings/config"
)

// A configuration that can't be read is told with what to do, by every command with the same words and exit code.
func TestUnreadableConfiguration(t *testing.T) {
	wrong := &config.Errors{}
	open := func(path string, err error) error { return fmt.Errorf("open %s: %w", path, err) }
	for _, c := range []struct {
		path string
		err  error
		want string
	}{
		{defaultConfig, open(defaultConfig, fs.ErrNotExist), "tidings: there is no configuration at /etc/tidings/config.yaml: name one with --config FILE or TIDINGS_CONFIG, or see it all at work with \"tidings demo\""},
		{"mine.yaml", open("mine.yaml", fs.ErrNotExist), "tidings: open mine.yaml: file does not exist"},
		{defaultConfig, open(defaultConfig, fs.ErrPermission), "tidings: open /etc/tidings/config.yaml: permission denied; run this as root, or as a member of the group that may"},
		{"mine.yaml", wrong, wrong.Error()},
	} {
		if code, text := verdict(unreadable(c.path, c.err)); code != exitConfig || text != c.want {
			t.Errorf("%s, %v: exit code %d, %s", c.path, c.err, code, text)
		}
	}
	if err := unreadable("mine.yaml", nil); err != nil {
		t.Error(err)
	}
}
