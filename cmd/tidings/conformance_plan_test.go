package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings/simulator"
)

// plan is what a seed makes of a schedule.
type plan struct {
	steps    int
	every    time.Duration
	start    string        // now, earliest or time
	since    time.Time     // that time
	onLost   string        // what to do about a lost place
	faults   []string      // each strikes now and then
	late     bool          // things are listed late
	keep     int           // the API lists only so many, and much happens while nobody polls
	retain   time.Duration // the API lists what happened for so long only; 0: as documented
	declared bool          // and its documentation says so
	interval time.Duration // GitHub's
	memory   int           // of the poller
	page     int           // its size
}

// harmless faults are told as failures and hide nothing; lying ones have lists say what is not so.
var (
	harmless = []string{"429", "429date", "5xx", "html", "html200", "401", "hang", "slow", "cut", "disabled"}
	lying    = []string{"repeat", "twice", "loop", "order", "unknown", "lost", "date", "notime", "end"}
)

// resources reports whether the API has no event list.
func (s *conformer) resources() bool { return s.preset == "openvolt" || s.preset == "nectar" }

func (s *conformer) drawPlan() {
	p, r := &s.plan, s.rnd
	p.steps, p.memory = 10+r.IntN(30), 1<<(10+r.IntN(14))
	p.page, p.every = 2+r.IntN(30), time.Minute
	p.start, p.onLost = "now", "from_time"
	lists := !s.resources()
	if !lists {
		p.every = 5 * time.Minute // each poll costs dozens of requests
	}
	switch n := r.IntN(6); {
	case n == 0:
		p.start = "earliest"
	case n == 1 && lists: // of resources nobody knows what they were at a time
		p.start = "time"
	}
	if n := r.IntN(6); n < 2 {
		p.onLost = []string{"stop", "from_now"}[n]
	}
	if s.preset == "github" && r.IntN(2) == 0 {
		p.interval = time.Duration(30+r.IntN(300)) * time.Second
	}
	kinds := slices.Clone(harmless)
	if r.IntN(2) == 0 {
		kinds = append(kinds, lying...)
	}
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	p.faults = kinds[:r.IntN(5)]
	p.faults = slices.DeleteFunc(p.faults, func(name string) bool {
		return name == "end" && !lists || // what a list of resources lacks was deleted
			name == "notime" && p.start == "time" || // what bears no time may be from before it
			name == "date" && slices.Contains(p.faults, "429date") // a wrong clock makes another time of Retry-After
	})
	p.late = lists && r.IntN(2) == 0
	if lists && s.preset != "utilityapi" { // what is acknowledged is gone
		switch r.IntN(4) {
		case 0:
			p.keep = 30 + r.IntN(50)
		case 1:
			p.retain = time.Duration(35+r.IntN(120)) * time.Minute // more than the longest backoff
			p.declared = r.IntN(2) == 0
		}
	}
}

func (s *conformer) has(faults ...string) bool {
	return slices.ContainsFunc(s.plan.faults, func(f string) bool { return slices.Contains(faults, f) })
}

// step lets something happen, and some time pass.
func (s *conformer) step() {
	switch n := s.rnd.IntN(14); {
	case n < 5:
		s.api.Add(1 + s.rnd.IntN(8))
	case n == 5:
		s.api.Add(20 + s.rnd.IntN(80))
	case n == 6 && s.plan.late:
		s.api.AddLate(time.Duration(s.rnd.IntN(240)) * time.Second)
	case n == 7 && len(s.plan.faults) > 0:
		s.setFaults(s.rnd.IntN(3) > 0)
	case n == 8:
		s.away()
	case n == 9 && s.plan.keep > 0:
		s.overrun()
	case n == 10:
		s.killInRequest()
	case n == 11 || n == 12:
		s.stumble()
	}
	time.Sleep(time.Duration(s.rnd.IntN(1+s.rnd.IntN(200_000))) * time.Millisecond)
}

func (s *conformer) setFaults(on bool) {
	keep := s.api.Faults().Keep
	var f simulator.Faults
	if on {
		var texts []string
		for _, name := range s.plan.faults {
			text := fmt.Sprintf("%s=%.3f", name, 0.01+0.2*s.rnd.Float64())
			if name == "hang" {
				text += fmt.Sprintf(":%ds", 5+s.rnd.IntN(60))
			}
			if name == "date" && s.rnd.IntN(2) == 0 { // one that nobody believes; else an hour
				text += ":7000h"
			}
			texts = append(texts, text)
		}
		var err error
		if f, err = simulator.ParseFaults(strings.Join(texts, ",")); err != nil {
			s.t.Fatal(err)
		}
	}
	f.Keep = keep
	s.api.SetFaults(f)
}

// away kills the poller and starts another one later.
func (s *conformer) away() {
	s.end()
	time.Sleep(10 * time.Second) // longer than a Retry-After of these faults: a new process can't know of it
	if s.rnd.IntN(3) == 0 {
		if err := s.store.Close(); err != nil {
			s.t.Fatal(err)
		}
		s.open()
	}
	if s.rnd.IntN(2) == 0 {
		s.api.Add(s.rnd.IntN(30))
		time.Sleep(time.Duration(s.rnd.IntN(3600)) * time.Second)
		s.api.Add(s.rnd.IntN(30))
	}
	if s.plan.retain > 0 && s.rnd.IntN(2) == 0 { // longer than events are listed
		s.api.Add(s.rnd.IntN(30))
		time.Sleep(s.plan.retain + time.Duration(s.rnd.IntN(3600))*time.Second)
		s.api.Add(s.rnd.IntN(30))
	}
	s.begin()
}

// killInRequest kills the poller while the API holds an answer back.
func (s *conformer) killInRequest() {
	f := s.api.Faults()
	was := f.Hang
	f.Hang = simulator.Fault{Next: 1 + s.rnd.IntN(3), For: time.Duration(5+s.rnd.IntN(100)) * time.Second}
	s.api.SetFaults(f)
	s.api.Add(s.rnd.IntN(10))
	hung := s.api.Stats().Faults["hang"]
	if s.waitFor(s.plan.every+time.Minute, func() bool { return s.api.Stats().Faults["hang"] > hung }) {
		time.Sleep(time.Duration(s.rnd.IntN(30)) * time.Second)
	}
	f = s.api.Faults()
	f.Hang = was
	s.api.SetFaults(f)
	s.end()
	time.Sleep(10 * time.Second)
	s.begin()
}

// stumble kills the poller at a commit that is to come, before or after, or lets that commit fail.
func (s *conformer) stumble() {
	s.mu.Lock()
	s.hurdle = hurdle{1 + s.rnd.IntN(4), hurdleKinds[s.rnd.IntN(len(hurdleKinds))]}
	kills := strings.HasPrefix(s.hurdle.how, "killed")
	s.mu.Unlock()
	s.api.Add(1 + s.rnd.IntN(60))
	s.waitFor(2*s.plan.every, func() bool { return s.hurdle.in == 0 })
	s.mu.Lock()
	s.hurdle = hurdle{}
	s.mu.Unlock()
	if kills {
		s.end()
		time.Sleep(10 * time.Second)
		s.begin()
	}
}

// overrun lets more happen than the API lists, while nobody polls.
func (s *conformer) overrun() {
	s.end()
	f := s.api.Faults()
	f.Keep = s.plan.keep
	s.api.SetFaults(f)
	s.api.Add(2 * s.plan.keep)
	s.plan.keep = 0 // once
	time.Sleep(time.Minute)
	s.begin()
}

// settle lets the API behave and the source catch up.
func (s *conformer) settle() {
	s.setFaults(false)
	time.Sleep(25 * time.Minute) // the longest backoff, and what an API asked to be left alone
	if s.plan.onLost == "stop" {
		s.end() // a person has decided
		s.plan.onLost = "from_time"
		time.Sleep(10 * time.Second)
		s.begin()
		time.Sleep(10 * time.Minute)
	}
	s.dated()
	time.Sleep(10 * time.Minute) // the overlap reaches no further back than to this one
	if !s.resources() {
		time.Sleep(s.source.Overlap) // and nothing more is listed late behind the first page, so that its validator counts
	}
	const idle = 30
	every := max(s.plan.every, s.plan.interval)
	s.mu.Lock()
	polls, failures, commits := s.polls, len(s.failures), s.commits
	s.mu.Unlock()
	before := s.api.Stats()
	time.Sleep(idle * every)
	after := s.api.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) > failures {
		s.t.Errorf("the API behaves, and the source fails: %s", s.failures[len(s.failures)-1])
	}
	polls = s.polls - polls
	if s.plan.retain > 0 {
		return // the list has become empty meanwhile
	}
	if polls < idle*8/10 || polls > idle*12/10 {
		s.t.Errorf("%d polls in %d times %s", polls, idle, every)
	}
	if n := s.commits - commits; n > 0 {
		s.t.Errorf("%d commits of %d polls of a source where nothing happens", n, polls)
	}
	// An event list costs an idle source one request a poll; resources cost their pages, and some for each company or meter.
	perPoll := 1
	if s.resources() {
		perPoll = 60 + len(s.api.Facts())/s.plan.page
	}
	if n := after.Requests - before.Requests - (after.Logins - before.Logins); n > perPoll*polls {
		s.t.Errorf("%d requests for %d idle polls", n, polls)
	}
}

// dated lets things happen until one of them bears a time: the overlap is counted from that one.
func (s *conformer) dated() {
	for range 20 {
		s.api.Add(1)
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		n := len(s.taken)
		ok := n > 0 && !s.taken[n-1].Time.IsZero()
		s.mu.Unlock()
		if ok {
			return
		}
	}
}
