package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"
)

// sideEvery is how often at most the side copy is written.
const sideEvery = time.Minute

// sideCopy keeps, beside the store, a small copy of where each source and sink stands, for the day when the store is lost. It
// is written at most once a minute and at the end, when something in it changed: it is that much behind, which costs repeats and
// loses nothing.
type sideCopy struct {
	written []byte
	at      time.Time
	told    bool
}

// side is the content of a side copy.
type side struct {
	Sources map[string]sideSource `json:"sources"`
	Sinks   map[string]sideSink   `json:"sinks"`
}

type sideSource struct {
	Identity   string    `json:"identity"`
	Generation uint64    `json:"generation"`
	Position   []byte    `json:"position"` // null: never polled
	Moved      time.Time `json:"moved"`
}

type sideSink struct {
	Index uint16 `json:"index"` // stands for the name in events
	Floor uint64 `json:"floor"` // every event before it was settled, is failing or is dead
}

// sideFile is the file: the content with its checksum.
type sideFile struct {
	Written time.Time       `json:"written"`
	Sum     uint32          `json:"crc32c"`
	Content json.RawMessage `json:"content"`
}

func sidePath(path string) string { return filepath.Join(filepath.Dir(path), "positions.json") }

func readSide(path string) (side, time.Time, error) {
	var f sideFile
	var s side
	text, err := os.ReadFile(sidePath(path))
	if err != nil {
		return s, time.Time{}, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return s, time.Time{}, fmt.Errorf("%s can't be read: %w", sidePath(path), err)
	}
	if crc32.Checksum(f.Content, castagnoli) != f.Sum {
		return s, time.Time{}, fmt.Errorf("%s is damaged: its checksum is wrong", sidePath(path))
	}
	return s, f.Written, json.Unmarshal(f.Content, &s)
}

// remember takes up what a former run wrote, so that the same is not written again.
func (c *sideCopy) remember(path string) {
	if s, _, err := readSide(path); err == nil {
		c.written, _ = json.Marshal(s)
	}
}

// write writes the copy when it is due, or at the end.
func (c *sideCopy) write(s *Store, end bool) {
	now := time.Now()
	if !end && !c.at.IsZero() && now.Sub(c.at) < sideEvery {
		return
	}
	c.at = now
	s.mu.Lock()
	if s.dead != nil {
		s.mu.Unlock()
		return
	}
	content, err := json.Marshal(s.st.side())
	s.mu.Unlock()
	if err != nil || bytes.Equal(content, c.written) {
		return
	}
	err = writeSide(s.path, content)
	if err == nil {
		c.written, c.told = content, false
	} else if !c.told {
		c.told = true
		s.note(true, "the copy of the positions beside it can't be written: %v", err)
	}
}

func writeSide(path string, content []byte) error {
	text, err := json.Marshal(sideFile{Written: time.Now().UTC(), Sum: crc32.Checksum(content, castagnoli), Content: content})
	return errors.Join(err, replaceFile(sidePath(path), append(text, '\n')))
}

// side says where everything stands. s.mu is held.
func (st *state) side() side {
	c := side{Sources: map[string]sideSource{}, Sinks: map[string]sideSink{}}
	for name, src := range st.sources {
		c.Sources[name] = sideSource{Identity: src.identity, Generation: src.generation, Position: src.position, Moved: src.moved}
	}
	for name, k := range st.sinks {
		floor, ok := k.floor()
		if !ok {
			floor = st.next
		}
		c.Sinks[name] = sideSink{Index: k.index, Floor: floor}
	}
	return c
}
