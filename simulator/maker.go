package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"
)

// maker makes what one thing that happens is told with. Its texts, numbers and spacing are those that break whoever decodes JSON
// and encodes it again: large integers, decimals with a last zero, escapes, scripts beyond Latin.
type maker struct {
	r    *rand.Rand
	seed uint64
	at   time.Time // UTC
}

// newMaker counts a thing that happens at t, and draws for it from a stream of its own. a.mu is held.
func (a *account) newMaker(t time.Time) maker {
	a.seq++
	return maker{r: rand.New(rand.NewPCG(a.seed, a.seq<<8)), seed: a.seed, at: t.UTC()}
}

// odd draws whether a new event is odd in one way: as the fault says or, where there is none, in the usual share. a.mu is held.
func (a *account) odd(fault *Fault, name string, r *rand.Rand, usual float64) bool {
	if !fault.never() {
		struck := fault.strikes(r)
		if struck {
			a.stats.Faults[name]++
		}
		return struck
	}
	return !a.plain && r.Float64() < usual
}

// The shares of odd events that every account has, unless Options.Plain or Faults say otherwise.
const (
	usualUndated = 0.02
	usualUnknown = 0.01
)

// style draws how an item is spaced and escaped.
func (m *maker) style() style {
	if n := m.r.IntN(10); n < len(styles) {
		return styles[n]
	}
	return styles[0]
}

// word draws n characters of an alphabet.
func (m *maker) word(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[m.r.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	digits  = "0123456789"
	base16  = "0123456789abcdef"
	letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// objectID returns the id of the nth object of a kind in the world of a seed.
func objectID(seed uint64, prefix string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", seed, prefix, n))
	return prefix + "_" + hex.EncodeToString(sum[:12])
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func (m *maker) pickText(from []string) string { return pick(m.r, from) }

// pooled returns the id of an object that other events are about, too.
func (m *maker) pooled(prefix string) string {
	return objectID(m.seed, prefix, m.r.IntN(poolSize))
}

func (m *maker) number() literal { return pick(m.r, numbers) }

var numbers = []literal{
	"9007199254740993", "18446744073709551615", "123456789012345678901234567890", "0.10", "1.0", "1E+2", "-0", "6.02214076e23", "42",
}

var names = []string{
	"Ada Lovelace", "Zoë Müller-Straße", "Seán Ó Briain", "Γιώργος Παπαδόπουλος", "山田 太郎", "O'Neill & <Sons>", "Anaïs \"Nan\" Dvořák",
}

var remarks = []string{
	"", "prices changed", "line one\nline two\ttabbed", "C:\\meters\\new", "cheap at night 🌙 — dear at noon ☀️", "</script><!-- not HTML -->",
	"line\u2028separator", "+1,000 kWh ≈ £250.00",
}

const poolSize = 400 // customers, locations and devices each that the events are about
