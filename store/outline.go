package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// outline is what the parts of a store say of one another. A page tells by its place and a record by its checksum whether it can
// be believed; names of buckets, their numbers and what makes the store itself have no checksum of their own, and are compared
// here instead.
type outline struct {
	meta      map[string][]byte // nil: there is no such bucket
	sequences map[string]uint64 // by bucket: the last number given out
	last      map[string]uint64 // by bucket: the last number in use
	sinks     []string
	strange   map[string]bool // buckets that have what belongs elsewhere
}

func newOutline() *outline {
	return &outline{sequences: map[string]uint64{}, last: map[string]uint64{}, strange: map[string]bool{}}
}

// bucket and record are told what a walk of the tree meets.
func (o *outline) bucket(name string, sequence uint64) {
	o.sequences[name] = sequence
	if name == bucketMeta {
		o.meta = map[string][]byte{}
	}
	if outer, inner, nested := strings.Cut(name, "/"); nested && slices.Contains(buckets(), outer) && (outer != bucketRun || len(inner) != 8) {
		o.strange[outer] = true // only runs are buckets in a bucket
	}
}

func (o *outline) record(bucket string, e element) {
	switch {
	case !fits(bucket, e):
		o.strange[bucket] = true
	case bucket == bucketMeta:
		o.meta[string(e.key)] = bytes.Clone(e.value)
	case bucket == bucketSink:
		if k, err := readSink(e.key, e.value); err == nil {
			o.sinks = append(o.sinks, k.name)
			o.last[bucketLog] = max(o.last[bucketLog], k.scan-min(k.scan, 1))
		}
	case len(e.key) != 8:
	case bucket == bucketLog:
		if _, err := readHead(e.key, e.value); err == nil {
			o.use(bucketLog, e.key)
		}
	case bucket == bucketIDs, bucket == bucketAside, bucket == bucketAgain:
		if intact(e.key, e.value) {
			o.use(bucket, e.key)
		}
	case strings.HasPrefix(bucket, prefixX), strings.HasPrefix(bucket, prefixDead):
		if intact(e.key, e.value) {
			o.use(bucketLog, e.key)
		}
	}
}

// kinds are those of the records of each bucket of a fixed name.
var kinds = map[string]byte{bucketSrc: kindSource, bucketLog: kindEvent, bucketIDs: kindIDs, bucketRun: kindIDs, bucketRuns: kindRun,
	bucketTries: kindTries, bucketFails: kindFails, bucketAgain: kindAgain, bucketSink: kindSink, bucketAside: kindAside}

// fits reports whether a record may be of the bucket that it stands in, by the length of its key and by its kind. One that can't be
// read may be of any kind.
func fits(bucket string, e element) bool {
	kind, length := kinds[family(bucket)], 8
	switch {
	case bucket == bucketMeta:
		return true
	case bucket == "", bucket == bucketRun: // they have buckets only
		return false
	case strings.HasPrefix(bucket, prefixX):
		kind = kindFailed
	case strings.HasPrefix(bucket, prefixDead):
		kind = kindDead
	case bucket == bucketSrc, bucket == bucketSink:
		length = len(e.key)
	case bucket == bucketTries, bucket == bucketFails:
		length = 10
	case strings.HasPrefix(bucket, prefixRun):
		length = len(fingerprint{})
	case kind == 0:
		return true // nobody looks there
	}
	return len(e.key) == length && (len(e.value) > 0 && e.value[0] == kind || !intact(e.key, e.value))
}

func (o *outline) use(bucket string, key []byte) {
	o.last[bucket] = max(o.last[bucket], binary.BigEndian.Uint64(key))
}

// errs are the contradictions. What is no store at all, or one of a newer version, has none: that is told elsewhere.
func (o *outline) errs() (all []error) {
	if o.meta == nil || o.newer() {
		return nil
	}
	wrong := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	switch {
	case !o.identified() && o.meta[metaSum] != nil:
		wrong("what makes it recognisable was changed")
	case !o.identified():
		wrong("what makes it recognisable is missing")
	}
	for _, bucket := range []string{bucketLog, bucketIDs, bucketAside, bucketAgain} {
		if sequence, there := o.sequences[bucket]; there && o.last[bucket] > sequence {
			wrong("of %s it says that %d is the last number given out, and %d is in use", bucket, sequence, o.last[bucket])
		}
	}
	for _, bucket := range slices.Sorted(maps.Keys(o.strange)) {
		wrong("in %s stands what belongs elsewhere", family(bucket))
	}
	for _, name := range o.sinks {
		if !o.has(prefixX+name) || !o.has(prefixDead+name) {
			wrong("the deliveries of sink %s are missing", name)
		}
	}
	return all
}

func (o *outline) has(bucket string) bool {
	_, there := o.sequences[bucket]
	return there
}

// newer reports whether a newer version wrote it, as far as that is believed.
func (o *outline) newer() bool {
	v := o.meta["schema"]
	return len(v) == 8 && binary.BigEndian.Uint64(v) > schema && (o.meta[metaSum] == nil || o.summed())
}

// identified reports whether it says what makes it itself.
func (o *outline) identified() bool {
	return mutant("blind-outline") || len(o.meta["schema"]) == 8 && len(o.meta["uuid"]) == 16 && len(o.meta["hashkey"]) == 16 && (o.meta[metaSum] == nil || o.summed())
}

func (o *outline) summed() bool {
	return bytes.Equal(o.meta[metaSum], metaSumRecord(o.meta["schema"], o.meta["uuid"], o.meta["hashkey"]))
}

// strangers are the buckets of deliveries of a sink that there isn't: their names were changed, or their sink's was.
func (o *outline) strangers() (names []string) {
	for bucket := range o.sequences {
		for _, prefix := range []string{prefixX, prefixDead} {
			if name, ok := strings.CutPrefix(bucket, prefix); ok && !slices.Contains(o.sinks, name) {
				names = append(names, bucket)
			}
		}
	}
	return names
}

// metaSum is the record of meta that the others there, which are bare numbers, are checked by. It is the same in every version;
// a store that was never migrated or made by one that writes it has none.
const metaSum = "sum"

func metaSumRecord(schema, uuid, hashKey []byte) []byte {
	e := newRecord(kindSum, 64)
	for _, part := range [][]byte{schema, uuid, hashKey} {
		e.bytes(part)
	}
	return e.seal([]byte(metaSum))
}

// outlined walks a tree and says what its pages and its parts contradict. record may be nil.
func outlined(t *tree, record func(bucket string, e element)) *outline {
	o := newOutline()
	t.bucket = o.bucket
	t.walk(func(bucket string, e element) {
		o.record(bucket, e)
		if record != nil {
			record(bucket, e)
		}
	})
	if len(t.damage) == 0 {
		t.damage = o.errs()
	}
	return o
}
