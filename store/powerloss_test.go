package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The power goes at every moment of a run: the calls of a working process are recorded, every directory that they may have left
// on the disk is laid out, opened, and compared with what the process had been told.
func TestPowerLoss(t *testing.T) {
	slow(t)
	straced(t, "")
	images, violations := atomic.Int64{}, atomic.Int64{}
	began := time.Now()
	for !t.Failed() && images.Load() < enoughImages {
		seeds(t, 45, func(t *testing.T, seed uint64) {
			powerLoss(t, recordWork(t, workOrder{Seed: seed, Rounds: 3, Steps: 24, Body: 3000}), seed, &images, &violations)
		})
	}
	t.Logf("%d images, %d violations, %.0f images/s", images.Load(), violations.Load(), float64(images.Load())/time.Since(began).Seconds())
}

const enoughImages = 2500

// recording is what a process did to a directory, and said.
type recording struct {
	dir   string
	calls []call
	body  int
}

func recordWork(t *testing.T, order workOrder) recording {
	t.Helper()
	dir := fastDir(t)
	trace := filepath.Join(dir, "trace")
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	order.Path = workPath(data)
	return recording{dir: data, calls: record(t, trace, "work", order), body: order.Body}
}

// record returns the calls of a process with a role.
func record(t *testing.T, trace, role string, args any, options ...string) []call {
	t.Helper()
	command, env := child(t, role, args)
	command = append(straced(t, trace, append(options, "-e", "trace="+tracedCalls)...), command...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the process: %v\n%.3000s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls, err := readTrace(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(trace); err != nil {
		t.Fatal(err)
	}
	return calls
}

// powerLoss looks at every accident of a recording, on as many processes as there are processors.
func powerLoss(t *testing.T, r recording, seed uint64, images, violations *atomic.Int64) {
	const lookers = 2
	var all sync.WaitGroup
	for n := range lookers {
		p := &replay{t: t, recording: r, disk: newCrashDisk(r.dir), expected: newExpected(r.body), looker: newLooker(t),
			images: images, violations: violations, dir: fastDir(t)}
		all.Go(func() {
			defer p.looker.end()
			p.run(seed, n, lookers)
		})
	}
	all.Wait()
}

type replay struct {
	t *testing.T
	recording
	disk               *crashDisk
	expected           *expected
	looker             *looker
	images, violations *atomic.Int64
	dir                string
	points             int
}

func (p *replay) run(seed uint64, mine, of int) {
	for _, c := range p.calls {
		if c.began && c.name == "write" && c.args[0].word == "1" {
			if err := p.expected.hear(string(c.args[1].text)); err != nil {
				p.violated("the lines", err.Error())
				return
			}
		}
		if p.disk.syncs(c) {
			if p.points++; p.points%of == mine {
				p.crashes(rand.New(rand.NewPCG(seed, uint64(p.points))))
			}
		}
		if err := p.disk.do(c); err != nil {
			p.t.Error(err)
			return
		}
		if p.t.Failed() {
			return
		}
	}
	if p.points == 0 {
		p.t.Error("nothing was synced in the whole recording")
	}
	if p.points++; p.points%of == mine {
		p.crashes(rand.New(rand.NewPCG(seed, uint64(p.points))))
	}
}

// crashes looks at every accident of one moment.
func (p *replay) crashes(rnd *rand.Rand) {
	seen := map[uint64]bool{}
	for _, way := range ways {
		dir := filepath.Join(p.dir, fmt.Sprint(p.points, "-", len(seen)))
		sum, layOut := p.disk.crash(dir, way, rnd)
		if seen[sum] {
			continue
		}
		seen[sum] = true
		if err := layOut(); err != nil {
			p.t.Error(err)
			return
		}
		p.images.Add(1)
		saw, err := p.looker.look(look{Path: workPath(dir), Known: p.expected.highest(), Body: p.body, GoOn: true})
		where := fmt.Sprintf("power lost before sync %d, %s", p.points, way)
		switch {
		case err != nil:
			p.violated(where, err.Error())
		case saw.Refused != "":
			p.violated(where, "it does not open: "+saw.Refused)
		default:
			wrong := append(saw.Wrong, p.expected.judge(saw.Found)...)
			if len(wrong)+len(saw.Told) > 0 {
				p.violated(where, strings.Join(append(wrong, saw.Told...), "\n  "))
			}
		}
		removeAll(p.t, dir)
		if p.t.Failed() {
			return
		}
	}
}

func (p *replay) violated(where, what string) {
	p.violations.Add(1)
	p.t.Errorf("VIOLATION: %s:\n  %.1500s", where, what)
}
