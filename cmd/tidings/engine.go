package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"tidings/admin"
	"tidings/config"
	"tidings/dispatch"
	"tidings/event"
	"tidings/poller"
	"tidings/sinks"
	"tidings/sources"
	"tidings/store"
)

// engine is the daemon without its surroundings: the store, a poller a source, a worker a sink. `run`, `once` and `demo`
// differ in how they start it, not in what it is.
type engine struct {
	store   *store.Store
	live    *admin.Live
	pollers []*poller.Poller
	workers []*dispatch.Worker
}

// newEngine opens the store and builds what cfg says. Whatever happens is told to each of watch, and to the log.
func newEngine(ctx context.Context, cfg *config.Config, log *slog.Logger, start startFlags, watch ...func(event.Notice)) (*engine, error) {
	e := &engine{live: admin.NewLive(topology(cfg))}
	watch = append(watch, e.live.Notify, admin.Log(log))
	notify := func(n event.Notice) {
		for _, w := range watch {
			w(n)
		}
	}
	if err := asOwner(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data directory: %w; create it for the service's user or set data_dir", err)
	}
	minFree, err := minFree(cfg.DataDir, cfg.Store.MinFree)
	if err != nil {
		return nil, err
	}
	e.store, err = store.Open(storePath(cfg.DataDir), store.Options{
		Create: true, Notify: notify, AllowNetworkFS: start.allowNetworkFS, DeepCheck: deepCheck,
		Remember: cfg.Store.Remember, Keep: cfg.Store.Keep, MaxSize: cfg.Store.MaxSize, MinFree: minFree,
	})
	if err != nil {
		return nil, err
	}
	if err := e.build(ctx, cfg, notify, start.acceptReset); err != nil {
		return nil, errors.Join(err, e.store.Close())
	}
	return e, nil
}

func (e *engine) build(ctx context.Context, cfg *config.Config, notify func(event.Notice), acceptReset bool) error {
	if err := e.store.Apply(ctx, topology(cfg), acceptReset); err != nil {
		return err
	}
	budgets := new(sources.Budgets)
	for _, src := range cfg.Sources {
		feeds, err := newFeeds(src, sources.Options{Budgets: budgets, Warn: func(err error) {
			notify(event.SourceNote{Source: src.Name, At: time.Now(), What: err.Error()})
		}})
		if err != nil {
			return err
		}
		e.pollers = append(e.pollers, &poller.Poller{
			Source: src.Name, Feeds: feeds, Store: e.store, Notify: notify,
			Every: src.Every, Cron: src.Cron, Jitter: src.Jitter,
			Start: firstRun(src.Start), OnLost: poller.Lost(src.OnLost), Overlap: src.Overlap, Remember: cfg.Store.Remember,
		})
	}
	for _, s := range cfg.Sinks {
		sink, err := newSink(s)
		if err != nil {
			return err
		}
		w := &dispatch.Worker{
			Name: s.Name, Sink: sink, Queue: e.store, Notify: notify, Timeout: s.Timeout, Concurrency: s.Concurrency, Batch: 1,
			Policy: dispatch.Policy{
				Initial: s.Retry.Initial, Max: s.Retry.Max, Multiplier: s.Retry.Multiplier, Jitter: s.Retry.Jitter,
				GiveUpAfter: s.Retry.GiveUpAfter,
			},
		}
		if s.File != nil {
			w.Batch = fileBatch
		}
		e.workers = append(e.workers, w)
	}
	return nil
}

// fileBatch is how many deliveries that are due together share one sync of a file.
const fileBatch = 256

func newSink(s config.Sink) (sink dispatch.Sink, err error) {
	format := sinks.Format(s.Format)
	switch {
	case s.HTTP != nil:
		o := sinks.HTTPOptions{
			URL: s.HTTP.URL.Reveal(), Shown: s.HTTP.Shown, Hide: s.HTTP.Hide,
			Headers: s.HTTP.Headers, PermanentStatuses: s.HTTP.PermanentStatuses,
			Format: format, Concurrency: s.Concurrency, Version: version,
		}
		if !s.HTTP.Secret.IsZero() {
			o.Secrets = []event.Secret{s.HTTP.Secret}
		}
		sink, err = sinks.NewHTTP(o)
	case s.File != nil:
		sink, err = sinks.NewFile(sinks.FileOptions{Path: s.File.Path, Spool: s.File.Spool, Timezone: s.File.Timezone, Format: format})
	default:
		sink, err = sinks.NewExec(sinks.ExecOptions{
			Sink: s.Name, Command: reveal(s.Exec.Command), Env: s.Exec.Env, Hide: s.Exec.Hide, Format: format,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", s.Name, err)
	}
	return sink, nil
}

func reveal(secrets []event.Secret) []string {
	texts := make([]string, len(secrets))
	for i, s := range secrets {
		texts[i] = s.Reveal()
	}
	return texts
}

// firstRun says where a source that was never polled begins.
func firstRun(s config.Start) poller.Start {
	switch {
	case s.Earliest:
		return poller.Start{Kind: poller.StartEarliest}
	case !s.At.IsZero():
		return poller.Start{Kind: poller.StartAt, At: s.At}
	default:
		return poller.Start{Kind: poller.StartNow}
	}
}

// topology is what the store has to know of the configuration.
func topology(cfg *config.Config) event.Topology {
	var t event.Topology
	for _, s := range cfg.Sources {
		t.Sources = append(t.Sources, event.SourceSpec{Name: s.Name, Identity: s.Identity, Events: s.Events})
	}
	for _, s := range cfg.Sinks {
		t.Sinks = append(t.Sinks, event.SinkSpec{Name: s.Name, Sources: s.Sources, Events: s.Events})
	}
	return t
}

// run polls and delivers until ctx ends, and returns when everything it started has ended. An error means that the daemon
// can't go on.
func (e *engine) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range e.pollers {
		g.Go(func() error { return p.Run(ctx) })
	}
	for _, w := range e.workers {
		g.Go(func() error { return w.Run(ctx) })
	}
	g.Go(func() error {
		select {
		case err := <-e.store.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return g.Wait()
}

// healthy reports what keeps the watchdog from being told that all is well: a loop that did not take its next step in the
// time it promised, or a store that does not answer. An API or a sink that fails is no such thing.
func (e *engine) healthy(ctx context.Context) error {
	for _, p := range e.pollers {
		if p.Progress().Overdue() {
			return fmt.Errorf("source %s makes no progress", p.Source)
		}
	}
	for _, w := range e.workers {
		if w.Progress().Overdue() {
			return fmt.Errorf("sink %s makes no progress", w.Name)
		}
	}
	return e.store.Ping(ctx)
}

func (e *engine) close() error { return e.store.Close() }

func storePath(dataDir string) string { return filepath.Join(dataDir, "store.db") }

// asOwner refuses to write as root into a directory of another user's: the service, which runs as that user, could not open
// what root leaves there.
func asOwner(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for {
		var at unix.Stat_t
		err := unix.Stat(dir, &at)
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil || at.Uid == 0 {
			return nil // what is wrong with the directory shows when it is made or used
		}
		name := strconv.Itoa(int(at.Uid))
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		return fmt.Errorf("%s belongs to the user %s, and this runs as root: run it with sudo -u %s, so that the service can open what it writes", dir, name, name)
	}
}

// minFree is the free space that polling leaves on the disk: what is configured, or 5% of the disk where that is less.
func minFree(dir string, configured int64) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("ask for the size of the disk under %s: %w", dir, err)
	}
	return min(configured, int64(fs.Blocks)*int64(fs.Bsize)/20), nil
}
