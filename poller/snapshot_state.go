package poller

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// snapshotPosition is what a list was when it was last read: of some 60 bytes for each resource with an id of 36.
//
//	{"v":1,"kind":"snapshot","start":"...","caught_up":true,"epoch":"AQIDBAUGBwg","changes":7,"resources":{"mtr_1":"iKXTnCB1vkE","mtr_2":"q83vEjRWeJA?"}}
type snapshotPosition struct {
	common
	Epoch     string              `json:"epoch"`           // drawn when the source started: changes of two starts are not taken for one
	Changes   uint64              `json:"changes"`         // told so far
	Empty     bool                `json:"empty,omitempty"` // the last list was empty, and not believed
	Resources map[string]resource `json:"resources"`
}

// resource is what a resource was. In JSON it is 64 bits of a hash of its version, and a "?" behind it where the last list lacked it.
type resource struct {
	version uint64
	missing bool
}

func hashVersion(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return max(binary.BigEndian.Uint64(sum[:]), 1)
}

func (r resource) MarshalText() ([]byte, error) {
	text := base64.RawURLEncoding.AppendEncode(nil, binary.BigEndian.AppendUint64(nil, r.version))
	if r.missing {
		text = append(text, '?')
	}
	return text, nil
}

func (r *resource) UnmarshalText(text []byte) error {
	coded, missing := strings.CutSuffix(string(text), "?")
	data, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(data) != 8 {
		return fmt.Errorf("%q is no version of a resource", text)
	}
	*r = resource{binary.BigEndian.Uint64(data), missing}
	return nil
}

func newEpoch() string {
	var random [8]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// changeID names a change. The version is part of it: a position that a person sets back to an earlier one counts anew, and may meet
// other changes under the same number.
func (p *snapshotPosition) changeID(feed, id string, change Change, now resource) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s %q %q %d", p.Epoch, p.Changes, change, feed, id, now.version))
	return id + "@" + hex.EncodeToString(sum[:8])
}

// ids are the resources that the last list had, in an order that does not change.
func (p *snapshotPosition) ids() []string { return slices.Sorted(maps.Keys(p.Resources)) }

// resource returns what a resource was, or is by what this round has found.
func (r *snapshotRound) resource(id string) (resource, bool) {
	now, ok := r.changes[id]
	if !ok {
		now, ok = r.pos.Resources[id]
	}
	return now, ok && now.version != 0
}

// count returns how many resources there are by what this round has found.
func (r *snapshotRound) count() int {
	n := len(r.pos.Resources)
	for id, now := range r.changes {
		_, was := r.pos.Resources[id]
		switch {
		case now.version == 0 && was:
			n--
		case now.version != 0 && !was:
			n++
		}
	}
	return n
}

// apply makes what this round has found the place.
func (r *snapshotRound) apply() {
	for id, now := range r.changes {
		if now.version == 0 {
			delete(r.pos.Resources, id)
		} else {
			r.pos.Resources[id] = now
		}
	}
	clear(r.changes)
}
