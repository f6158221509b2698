package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	pileParts  = 64
	pileBuffer = 4 << 10 // bytes of a part that wait in memory; a multiple of a fingerprint
)

// pile collects fingerprints on disk, apart by their range, so that many of them take little memory.
type pile struct {
	dir    string
	parts  [pileParts]*os.File
	buffer [pileParts][]byte
	chunks map[[12]byte]bool // beginnings of keys, and checksums, of those taken: most chunks stand in a file several times
	newest time.Time         // of the chunks
	err    error             // the first
}

// take adds the fingerprints of a chunk that can be read.
func (p *pile) take(key, value []byte) {
	var space [chunkSize]fingerprint
	at, prints, err := readChunk(key, value, space[:0])
	if err != nil || len(key) < 8 {
		return
	}
	mark := [12]byte(append(append(make([]byte, 0, 12), key[:8]...), value[2:recordHead]...))
	if p.chunks[mark] {
		return
	}
	p.chunks[mark] = true
	if at.After(p.newest) {
		p.newest = at
	}
	for _, f := range prints {
		p.add(f)
	}
}

func (p *pile) add(f fingerprint) {
	i := f[0] / (256 / pileParts)
	if p.buffer[i] = append(p.buffer[i], f[:]...); len(p.buffer[i]) >= pileBuffer {
		p.flush(int(i))
	}
}

func (p *pile) flush(i int) {
	if p.err == nil && p.parts[i] == nil {
		p.parts[i], p.err = os.OpenFile(filepath.Join(p.dir, fmt.Sprintf("ids-%d", i)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	}
	if p.err == nil {
		_, p.err = p.parts[i].Write(p.buffer[i])
	}
	p.buffer[i] = p.buffer[i][:0]
}

// sorted hands out all fingerprints once, in order, in slices that are valid only during the call, and removes them from the disk.
func (p *pile) sorted(fn func([]fingerprint) error) error {
	for i := range p.parts {
		p.flush(i)
		if p.err != nil {
			return p.err
		}
		data, err := io.ReadAll(io.NewSectionReader(p.parts[i], 0, 1<<62))
		if err != nil {
			return err
		}
		prints := make([]fingerprint, 0, len(data)/len(fingerprint{}))
		for b := range slices.Chunk(data, len(fingerprint{})) {
			prints = append(prints, fingerprint(b))
		}
		slices.SortFunc(prints, fingerprint.compare)
		if err := errors.Join(fn(slices.Compact(prints)), p.drop(i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *pile) drop(i int) error {
	f := p.parts[i]
	if f == nil {
		return nil
	}
	p.parts[i] = nil
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// close lets go of what was not handed out.
func (p *pile) close() (err error) {
	for i := range p.parts {
		err = errors.Join(err, p.drop(i))
	}
	return err
}

// remembered writes the ids anew when they were not whole: those found, and those of the events that are left. They are sealed at
// once: sorted as they are, they would make a daemon's tables slow, and large. All are as young as the youngest.
func (s *salvage) remembered() error {
	if s.whole(bucketIDs) {
		return nil
	}
	m := memory{key: s.mark.hashKey[:]}
	var known state
	err := s.out.db.View(func(tx *bolt.Tx) error {
		known.loadClock(tx)
		return tx.Bucket([]byte(bucketLog)).ForEach(func(key, value []byte) error {
			if ev, err := readEvent(key, value); err == nil {
				s.pile.add(m.fingerprint(ev.Source, ev.ID))
				if ev.Received.After(s.pile.newest) {
					s.pile.newest = ev.Received
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	newest := s.pile.newest
	if known.amended.at.After(newest) {
		newest = known.amended.at
	}
	// Chunks to come have higher numbers than any that a clock's mistake was corrected in.
	last := max(s.seen[bucketIDs], known.amended.toChunk)
	there := len(s.seen) > 0
	s.seen[bucketIDs] = last
	r, total := &run{number: 1, newest: newest, through: last + 1}, 0
	finish := func() error {
		if r.count == 0 {
			return nil
		}
		key := seqKey(r.number)
		err := s.out.put(bucketRuns, key, r.record())
		r = &run{number: r.number + 1, newest: newest, through: last + 1}
		return err
	}
	err = s.pile.sorted(func(prints []fingerprint) error {
		for chunk := range slices.Chunk(prints, chunkSize) {
			if err := s.out.put(runBucket(r.number), chunk[0][:], chunkRecord(chunk[0][:], newest, chunk)); err != nil {
				return err
			}
			total += len(chunk)
			if r.count += len(chunk); r.count >= runSize {
				if err := finish(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		err = finish()
	}
	if there || total > 0 {
		s.report.lose("some of the remembered ids, perhaps: %d are kept", total)
	}
	return err
}
