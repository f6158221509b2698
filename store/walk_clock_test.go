package store

import (
	"context"
	"time"
)

// mistime lets the wall clock jump or come right, or a server tell the time, which is always right. Whatever the clock does, nothing
// may be forgotten sooner than by one that is right all the time.
func (w *walk) mistime() {
	jump := []time.Duration{2 * time.Hour, 31 * time.Hour, 40 * 24 * time.Hour, 20 * 365 * 24 * time.Hour}[w.rnd.IntN(4)]
	switch w.rnd.IntN(6) {
	case 0:
		w.wall.jump(jump)
		w.right = time.Time{}
	case 1:
		w.wall.jump(-jump)
		w.right = time.Time{}
	case 2, 3:
		w.wall.off.Store(0)
	default:
		w.asked()
	}
}

// asked: a server has answered.
func (w *walk) asked() {
	w.SawDate(context.Background(), time.Now())
	if w.wall.off.Load() == 0 && w.right.IsZero() {
		w.right = time.Now()
	}
}
