package store

import "errors"

// compacted goes some steps while the file is compacted. A reopening among them ends that.
func (w *walk) compacted() {
	w.halt = newHalted()
	before := w.bench
	done := w.compact()
	<-w.halt.reached
	for range w.rnd.IntN(10) {
		w.step()
	}
	select {
	case err := <-done: // only what ends it does so by now
		if err == nil {
			w.t.Error("a compaction has ended while it is halted")
		}
	default:
		close(w.halt.goOn)
		if err := <-done; err != nil && w.bench == before && !errors.Is(err, errReopening) {
			w.t.Errorf("a compaction: %v", err)
		}
	}
	w.halt = nil
	w.compare(w.bench)
}
