package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// identity is what makes a store itself. A copy of it stands beside the store, so that one that is missing or empty is never
// mistaken for a first start, and so that the key of the fingerprints survives the file.
type identity struct{ uuid, hashKey [16]byte }

func markerPath(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".id" }

func (id identity) text() string {
	body := fmt.Sprintf("tidings store %x key %x", id.uuid, id.hashKey)
	return fmt.Sprintf("%s sum %08x\n", body, crc32.Checksum([]byte(body), castagnoli))
}

var errMarker = errors.New("its content is damaged")

func readMarker(path string) (identity, error) {
	text, err := os.ReadFile(markerPath(path))
	if err != nil {
		return identity{}, err
	}
	var id identity
	words := strings.Fields(string(text))
	if len(words) < 5 || hexTo(id.uuid[:], words[2]) != nil || hexTo(id.hashKey[:], words[4]) != nil || id.text() != string(text) {
		return identity{}, fmt.Errorf("read %s: %w", markerPath(path), errMarker)
	}
	return id, nil
}

func hexTo(to []byte, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(to) {
		return errMarker
	}
	copy(to, b)
	return nil
}

// hadStore reports whether a store was at path once, and which file says so: the mark, or the copy of the positions, which a store alone
// writes.
func hadStore(path string) (witness string, had bool) {
	for _, witness := range []string{markerPath(path), sidePath(path)} {
		if _, err := os.Stat(witness); !errors.Is(err, fs.ErrNotExist) {
			return witness, true
		}
	}
	return "", false
}

func owner(path string) (uid, gid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid), nil
}
