package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// rank says how much a record can be trusted to be the newest under its key.
type rank uint8

const (
	current rank = iota // the newest header leads to it
	older               // the header before it does
	loose               // it stands in some page: it may have been replaced or deleted since
)

// remnant is a record that may be saved. Its value stays in the file.
type remnant struct {
	bucket, key string
	at          int64
	size        int
	rank        rank
}

// salvage saves what can be read of a damaged store into a new one. A bucket that the newest header leads to and that is whole is
// copied as it is, so nothing old comes back in it. What lacks in another is looked for where the older header leads, then in every
// page of the file; there a record is known by its kind, its key and its checksum, and what had been deleted may come back.
type salvage struct {
	path     string
	f        *os.File // nil: there is nothing to read
	pre      preflight
	seen     map[string]uint64 // buckets of the newest tree, and their sequences
	outline  *outline
	broken   map[string]bool
	rescued  []remnant
	ruined   []remnant       // of the log: not readable, and of no bucket that tells who wanted them
	pile     *pile           // the fingerprints that were found
	ranks    map[string]rank // of what but events was saved from elsewhere than the newest tree, by bucket and key
	side     side
	sideAt   time.Time
	mark     identity
	marked   bool
	fresh    bool // the key of the fingerprints is new: what was remembered means nothing
	progress func(done, total int64)
	out      *rebuilt
	failed   error // the first of writing there
	report   *RepairReport
}

// grouped: the remembered ids are whole in all of these or in none.
var grouped = []string{bucketIDs, bucketRuns, bucketRun}

func (s *salvage) whole(bucket string) bool {
	if slices.Contains(grouped, family(bucket)) {
		for _, name := range grouped {
			if _, seen := s.seen[name]; !seen || s.broken[name] {
				return false
			}
		}
		return !s.fresh
	}
	_, seen := s.seen[bucket]
	return seen && !s.broken[bucket]
}

// listed reports whether a bucket's records are always looked at one by one.
func listed(bucket string) bool {
	return bucket == bucketSrc || bucket == bucketSink || bucket == bucketAgain
}

// vital reports whether the store can't work without what a bucket's records say.
func vital(bucket string) bool { return bucket == bucketSrc || bucket == bucketSink }

// survey finds out what is whole.
func (s *salvage) survey() {
	s.seen, s.broken, s.ranks, s.outline = map[string]uint64{}, map[string]bool{}, map[string]rank{}, newOutline()
	if len(s.pre.headers) == 0 {
		return
	}
	t := newTree(s.f, s.pre.headers[0], s.pre.size)
	s.outline = outlined(t, func(bucket string, e element) {
		if (bucket != bucketMeta || string(e.key) == metaClock) && !intact(e.key, e.value) {
			s.report.Unreadable++
		}
		if (vital(bucket) || bucket == bucketMeta && string(e.key) == metaClock) && !readable(bucket, e) {
			s.broken[bucket] = true // another version of the record is worth looking for
		}
	})
	s.seen = s.outline.sequences
	for name := range t.broken {
		s.broken[family(name)] = true
	}
	for _, err := range t.damage {
		s.report.damage("%v", err)
	}
	for name := range s.outline.strange {
		s.broken[family(name)] = true
	}
	if !s.outline.identified() {
		s.broken[bucketMeta] = true
	}
	if s.whole(bucketSink) {
		for _, name := range s.outline.strangers() {
			s.broken[name] = true
		}
		for _, name := range s.outline.sinks {
			for _, bucket := range []string{prefixX + name, prefixDead + name} {
				if !s.outline.has(bucket) {
					s.broken[bucket] = true
				}
			}
		}
	}
}

// distrust has every record be looked at by itself.
func (s *salvage) distrust() {
	for bucket := range s.seen {
		s.broken[family(bucket)] = true
	}
}

func readable(bucket string, e element) bool {
	var err error
	switch {
	case !intact(e.key, e.value):
		return false
	case bucket == bucketSrc:
		_, err = readSource(e.key, e.value)
	case bucket == bucketSink:
		_, err = readSink(e.key, e.value)
	case bucket == bucketAgain:
		_, err = readReplay(e.key, e.value)
	}
	return err == nil
}

// gather copies what is whole and collects remnants for the rest.
func (s *salvage) gather() error {
	for i, h := range s.pre.headers {
		if i > 0 && !s.incomplete() {
			break
		}
		t := newTree(s.f, h, s.pre.size)
		t.walk(func(bucket string, e element) {
			if !known(bucket) || !fits(bucket, e) {
				if bucket = ""; intact(e.key, e.value) {
					bucket = home(e)
				}
			}
			switch {
			case s.failed != nil, bucket == "":
			case s.whole(bucket) && (!listed(bucket) || !readable(bucket, e)):
				if i == 0 {
					s.failed = s.out.put(bucket, e.key, e.value)
				}
			default:
				s.consider(bucket, e, rank(i))
			}
		})
		if s.failed != nil {
			return s.failed
		}
	}
	if !s.incomplete() || s.f == nil {
		return nil
	}
	return s.scan()
}

// known reports whether a bucket's name is one that buckets have; another is a name that was changed.
func known(bucket string) bool {
	return slices.Contains(buckets(), family(bucket)) || strings.HasPrefix(bucket, prefixX) || strings.HasPrefix(bucket, prefixDead)
}

// incomplete reports whether anything is to be looked for beyond the newest tree.
func (s *salvage) incomplete() bool {
	for _, name := range buckets() {
		if !s.whole(name) {
			return true
		}
	}
	return len(s.broken) > 0
}

func (s *salvage) consider(bucket string, e element, r rank) {
	switch {
	case slices.Contains(grouped, family(bucket)):
		if !s.fresh {
			s.pile.take(e.key, e.value)
		}
	case bucket == bucketMeta && string(e.key) != metaClock: // written anew
	case bucket == bucketLog && readable(bucket, e): // all of a key are the same, and there may be millions
		if there, err := s.out.has(bucket, e.key); err != nil || there {
			s.failed = errors.Join(s.failed, err)
			return
		}
		if r > current {
			s.report.back(bucket)
		}
		s.failed = errors.Join(s.failed, s.out.put(bucket, e.key, e.value))
	case readable(bucket, e):
		s.rescued = append(s.rescued, remnant{bucket, string(e.key), e.at, len(e.value), r})
	case bucket == bucketLog && r == current:
		s.ruined = append(s.ruined, remnant{bucket, string(e.key), e.at, len(e.value), r})
	}
}

// scan looks at every page of the file by itself, whatever its head says: a record's own checksum tells.
func (s *salvage) scan() error {
	size := int64(os.Getpagesize())
	if len(s.pre.headers) > 0 {
		size = s.pre.headers[0].pageSize
	}
	buf := make([]byte, 16<<20) // no longer record is found alone
	for at := int64(0); at < s.pre.size; {
		n, err := s.f.ReadAt(buf[:min(int64(len(buf)), s.pre.size-at)], at)
		if n < pageHead {
			if at+size < s.pre.size { // what the disk doesn't give
				s.report.lose("what stood at byte %d of the file: %v", at, err)
			}
			at += size
			continue
		}
		used := int64(0)
		for ; used+pageHead <= int64(n); used += size {
			page := buf[used:n]
			length := (int64(order.Uint32(page[12:])) + 1) * size
			if used > 0 && length > int64(len(page)) && order.Uint64(page) == uint64((at+used)/size) && at+used+length <= s.pre.size {
				break // read it from its beginning
			}
			s.leaf(page, at+used)
		}
		if s.failed != nil {
			return s.failed
		}
		at += used
		s.progress(min(at, s.pre.size), s.pre.size)
	}
	return nil
}

func (s *salvage) leaf(page []byte, base int64) {
	all, _ := elements(page, base)
	for _, e := range all {
		if e.isBucket || !intact(e.key, e.value) {
			if len(e.value) >= bucketHead+pageHead && order.Uint64(e.value) == 0 { // a small one, whatever its entry says of it
				s.leaf(e.value[bucketHead:], e.at+bucketHead)
			}
			continue
		}
		if bucket := home(e); bucket != "" && !s.whole(bucket) {
			s.consider(bucket, e, loose)
		}
	}
}

// home is the bucket that a record found alone belongs to. Of a sink's deliveries only the sink's index is known.
func home(e element) string {
	d := &decoder{b: e.value[recordHead:]}
	switch kind := e.value[0]; {
	case kind == kindSource:
		return bucketSrc
	case kind == kindSink:
		return bucketSink
	case kind == kindIDs:
		return bucketIDs
	case kind == kindClock && string(e.key) == metaClock:
		return bucketMeta
	case kind == kindTries && len(e.key) == 10:
		return bucketTries
	case kind == kindFails && len(e.key) == 10:
		return bucketFails
	case len(e.key) != 8:
		return ""
	case kind == kindAgain:
		return bucketAgain
	case kind == kindEvent:
		return bucketLog
	case kind == kindAside:
		return bucketAside
	case kind == kindFailed:
		return fmt.Sprintf("%s#%d", prefixX, d.uint())
	case kind == kindDead:
		return fmt.Sprintf("%s#%d", prefixDead, d.uint())
	}
	return ""
}

// value reads a remnant's value.
func (s *salvage) value(c remnant) ([]byte, error) {
	value := make([]byte, c.size)
	_, err := s.f.ReadAt(value, c.at)
	return value, err
}

// settleNames gives deliveries to the sinks that the indices in their records stand for, where they were found alone or under a
// name that no sink has.
func (s *salvage) settleNames(indices map[string]uint16, names map[uint16]string) {
	for i := range s.rescued {
		c := &s.rescued[i]
		for _, prefix := range []string{prefixX, prefixDead} {
			name, ok := strings.CutPrefix(c.bucket, prefix)
			if _, known := indices[name]; !ok || known {
				continue
			}
			if value, err := s.value(*c); err == nil {
				c.bucket = prefix + names[uint16((&decoder{b: value[recordHead:]}).uint())]
			}
		}
	}
	s.rescued = slices.DeleteFunc(s.rescued, func(c remnant) bool {
		return c.rank == loose && !listed(c.bucket) && s.whole(c.bucket) || c.bucket == prefixX || c.bucket == prefixDead
	})
}

// best keeps one remnant a key: of the lowest rank, and among equals the one that is newest by what it says.
func (s *salvage) best() {
	slices.SortStableFunc(s.rescued, func(a, b remnant) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.key, b.key), cmp.Compare(a.rank, b.rank), -cmp.Compare(s.age(a), s.age(b)))
	})
	s.rescued = slices.CompactFunc(s.rescued, func(a, b remnant) bool { return a.bucket == b.bucket && a.key == b.key })
}

// age grows with every version of a record, as far as that can be told.
func (s *salvage) age(c remnant) uint64 {
	if c.rank != loose || c.bucket == bucketAside {
		return 0 // there is one only, or all are the same
	}
	value, err := s.value(c)
	if err != nil {
		return 0
	}
	key := []byte(c.key)
	switch {
	case c.bucket == bucketSrc:
		src, _ := readSource(key, value)
		return src.generation<<40 + uint64(max(0, src.moved.Unix()))
	case c.bucket == bucketSink:
		if k, err := readSink(key, value); err == nil {
			return k.scan
		}
	case strings.HasPrefix(c.bucket, prefixX):
		if x, err := readException(key, value); err == nil {
			return uint64(x.attempts)
		}
	default:
		return historyAge(c.bucket, key, value)
	}
	return 0
}
