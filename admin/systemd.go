package admin

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	statusEvery = 10 * time.Second // at most
	maxStatus   = 250              // bytes; what is beyond would be cut somewhere else
	healthTime  = 5 * time.Second  // for a look at the health: a store that does not answer by then is not healthy
)

// Notifier tells systemd how the service does (sd_notify(3)). Where systemd did not start the process it does nothing. What it
// tells is a courtesy: that it could not be told stops nothing, and systemd notices a watchdog that is silent.
type Notifier struct {
	mu     sync.Mutex
	status string
	told   time.Time
}

// NewNotifier returns a Notifier for the systemd that the environment names.
func NewNotifier() *Notifier { return new(Notifier) }

// Ready says that the service has started: its configuration is valid, its store is open, its control socket answers.
func (n *Notifier) Ready() { notify(daemon.SdNotifyReady) }

// Stopping says that the service has begun to end.
func (n *Notifier) Stopping() { notify(daemon.SdNotifyStopping + "\nSTATUS=stopping") }

// Fail says why the service ends.
func (n *Notifier) Fail(err error) { notify("STATUS=" + short(oneLine(err))) }

// Status shows text in `systemctl status`. A text that is shown already, or comes within 10 s of the last, is left out: call again.
func (n *Notifier) Status(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text = short(strings.Join(strings.Fields(text), " "))
	if text == n.status || !n.told.IsZero() && time.Since(n.told) < statusEvery {
		return
	}
	n.status, n.told = text, time.Now()
	notify("STATUS=" + text)
}

// unhealthy shows at once why the watchdog is not told; Status replaces it once the service is healthy.
func (n *Notifier) unhealthy(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status, n.told = "", time.Now()
	notify("STATUS=" + short("not healthy: "+oneLine(err)))
}

// Tell shows the server's status until ctx ends.
func (n *Notifier) Tell(ctx context.Context, s *Server) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	tick := time.NewTicker(statusEvery + time.Millisecond)
	defer tick.Stop()
	for {
		status, err := s.Status()
		if err != nil {
			n.Status(oneLine(err))
		} else {
			n.Status(status.Line())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Watchdog tells systemd that the service is alive, twice in the time that systemd allows, for as long as healthy returns nil,
// until ctx ends. While it returns an error the status names it, it is asked more often, so that a disk that stands still for a moment
// ends nothing, and systemd ends the service when its time is over.
func (n *Notifier) Watchdog(ctx context.Context, healthy func(context.Context) error) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("reading what systemd asks of the watchdog: %w", err)
	}
	if limit == 0 {
		return nil
	}
	for {
		wait := limit / 2
		if err := askHealth(ctx, healthy); err != nil {
			n.unhealthy(err)
			wait = limit / 20
		} else {
			notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// askHealth asks healthy, which gives up when ctx ends, for a time that is bounded.
func askHealth(ctx context.Context, healthy func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, healthTime, fmt.Errorf("the store has not answered within %s", healthTime))
	defer cancel()
	return healthy(ctx)
}

func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// short cuts a text to what fits.
func short(text string) string {
	if len(text) <= maxStatus {
		return text
	}
	return strings.ToValidUTF8(text[:maxStatus], "") + "…"
}
