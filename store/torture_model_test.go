package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tidings/event"
)

// expected is what the lines of a working process say that its file must have: for each thing the states that it may be in.
// More than one is possible only for what was told to have an unknown outcome.
//
//	open             "" or "yes"
//	pos/SOURCE       its position
//	known/SOURCE/ID  "" or "yes"
//	SINK/SOURCE/ID   "" (never owed, delivered or dropped), "owed 2" or "dead 3", with the attempts
//	state/SINK       its health and probes
type expected struct {
	may      map[string][]string
	under    map[string]line // said to be under way, by who
	topology event.Topology
	body     int
	acked    int
}

// never is the state of a delivery that was not wanted yet; a file shows it as it shows one that is over.
const never, over = "never", "over"

func newExpected(body int) *expected {
	return &expected{may: map[string][]string{}, under: map[string]line{}, topology: workTopology(), body: body}
}

func (e *expected) states(key string) []string {
	if s, ok := e.may[key]; ok {
		return s
	}
	if strings.Count(key, "/") == 2 && !strings.HasPrefix(key, "known/") {
		return []string{never}
	}
	if strings.HasPrefix(key, "state/") {
		return []string{"0 0"}
	}
	return []string{""}
}

// became says what each thing that an operation touches becomes.
func (e *expected) became(l line) map[string]func(string) string {
	made := map[string]func(string) string{}
	set := func(v string) func(string) string { return func(string) string { return v } }
	switch l.Op {
	case "open":
		made["open"] = set("yes")
	case "place":
		made["pos/"+l.Name] = set(l.To)
	case "state":
		made["state/"+l.Name] = set(l.To)
	case "commit":
		made["pos/"+l.Name] = set(l.To)
		for _, it := range l.Items {
			made["known/"+it.ID] = set("yes")
			var n int
			_, id, _ := strings.Cut(it.ID, "/")
			if _, err := fmt.Sscanf(id, "evt_%d", &n); err != nil {
				panic(err)
			}
			for _, sink := range wantedBy(e.topology, workEvent(l.Name, n, 0)) {
				made[sink+"/"+it.ID] = func(was string) string {
					if was == never {
						return "owed 0"
					}
					return was
				}
			}
		}
	default:
		for _, it := range l.Items {
			from, to := fmt.Sprintf("owed %d", it.Attempts), over
			switch {
			case it.Verdict == "retry":
				to = fmt.Sprintf("owed %d", it.Attempts+1)
			case it.Verdict == "dead":
				to = fmt.Sprintf("dead %d", it.Attempts+1)
			case l.Op == "redo":
				from, to = fmt.Sprintf("dead %d", it.Attempts), from
			case l.Op == "drop":
				from = fmt.Sprintf("dead %d", it.Attempts)
			}
			made[l.Name+"/"+it.ID] = func(was string) string {
				if was == from {
					return to
				}
				return was
			}
		}
	}
	return made
}

// saw takes what an operation was handed: that is what the file had, so nothing else was the case.
func (e *expected) saw(key, state string) error {
	if !slices.Contains(e.states(key), state) {
		// It may have been made by an operation that has not been heard of since. That is durable then.
		for who, l := range e.under {
			become := e.became(l)[key]
			if become != nil && slices.ContainsFunc(e.states(key), func(was string) bool { return become(was) == state }) {
				e.apply(l, false)
				e.under[who] = line{Who: who}
			}
		}
	}
	if !slices.Contains(e.states(key), state) {
		return fmt.Errorf("%s was shown as %q and may be %q", key, state, e.states(key))
	}
	e.may[key] = []string{state}
	return nil
}

func (e *expected) apply(l line, perhaps bool) {
	for key, become := range e.became(l) {
		var next []string
		for _, was := range e.states(key) {
			next = append(next, become(was))
			if perhaps {
				next = append(next, was)
			}
		}
		slices.Sort(next)
		e.may[key] = slices.Compact(next)
	}
}

// hear takes what a working process wrote at once: whole lines, or none of its own.
func (e *expected) hear(text string) error {
	for l := range strings.Lines(text) {
		kind, data, ok := strings.Cut(strings.TrimSpace(l), " ")
		if !ok || kind != "A" && kind != "B" {
			continue
		}
		var said line
		if err := json.Unmarshal([]byte(data), &said); err != nil {
			return err
		}
		if kind == "A" {
			begun, ok := e.under[said.Who]
			if !ok {
				return fmt.Errorf("%s answered without having begun", said.Who)
			}
			delete(e.under, said.Who)
			switch said.Answer {
			case "":
				e.acked++
				e.apply(begun, false)
			case "unknown":
				e.apply(begun, true)
			}
			continue
		}
		var err error
		switch said.Op {
		case "commit", "place":
			err = e.saw("pos/"+said.Name, said.From)
		case "settle", "redo", "drop":
			for _, it := range said.Items {
				state := "owed"
				if said.Op != "settle" {
					state = "dead"
				}
				err = errors.Join(err, e.saw(said.Name+"/"+it.ID, fmt.Sprint(state, " ", it.Attempts)))
			}
		}
		if err != nil {
			return fmt.Errorf("before %s of %s: %w", said.Op, said.Name, err)
		}
		e.under[said.Who] = said
	}
	return nil
}

// shown is a state as a file can show it.
func shown(state string) string {
	if state == never || state == over {
		return ""
	}
	return state
}

// judge compares what a look at a file has found with what may be: it returns one sentence for each thing that is wrong.
func (e *expected) judge(found map[string]string) []string {
	var wrong []string
	may := map[string][]string{}
	for key := range e.may {
		may[key] = e.states(key)
	}
	for _, l := range e.under {
		// What is under way may be there, whole, or not.
		before, after := true, true
		for key, become := range e.became(l) {
			states := e.states(key)
			if !slices.ContainsFunc(states, func(was string) bool { return become(was) != was }) {
				continue // an event that is repeated; another operation may be under way with it
			}
			before = before && slices.ContainsFunc(states, func(s string) bool { return shown(s) == found[key] })
			after = after && slices.ContainsFunc(states, func(s string) bool { return shown(become(s)) == found[key] })
			for _, was := range states {
				may[key] = append(slices.Clone(may[key]), was, become(was))
			}
		}
		if !before && !after {
			wrong = append(wrong, fmt.Sprintf("%s of %s is there in part", l.Op, l.Name))
		}
	}
	for key, states := range may {
		if !slices.ContainsFunc(states, func(s string) bool { return shown(s) == found[key] }) {
			wrong = append(wrong, fmt.Sprintf("%s is %q and may be %q", key, found[key], states))
		}
	}
	for key, state := range found {
		if _, ok := may[key]; !ok && !slices.ContainsFunc(e.states(key), func(s string) bool { return shown(s) == state }) {
			wrong = append(wrong, fmt.Sprintf("%s is %q and was never made", key, state))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// resolve takes what was found as what is: after a kill nothing is under way any more.
func (e *expected) resolve(found map[string]string) {
	for _, l := range e.under {
		for key, become := range e.became(l) {
			for _, was := range slices.Clone(e.states(key)) {
				if next := become(was); shown(was) != shown(next) && shown(next) == found[key] {
					e.may[key] = []string{next}
				}
			}
		}
	}
	clear(e.under)
}

// highest is the largest number of an event that a source may have: what to ask whether it is known.
func (e *expected) highest() map[string]int {
	top := map[string]int{}
	note := func(key string) {
		parts := strings.Split(key, "/")
		if len(parts) != 3 || parts[0] != "known" {
			return
		}
		var n int
		if _, err := fmt.Sscanf(parts[2], "evt_%d", &n); err == nil {
			top[parts[1]] = max(top[parts[1]], n+1)
		}
	}
	for key := range e.may {
		note(key)
	}
	for _, l := range e.under {
		for key := range e.became(l) {
			note(key)
		}
	}
	return top
}
