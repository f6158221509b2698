package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tidings/admin"
	"tidings/config"
	"tidings/event"
	"tidings/store"
)

// onceHorizon is how far ahead `once` waits for a retry.
const onceHorizon = 5 * time.Second

func newOnceCommand() *cobra.Command {
	var start startFlags
	cmd := &cobra.Command{
		Use:   "once",
		Short: "Poll every source once and deliver what is owed, then end",
		Long: `Makes one pass over every source until it is caught up, then delivers until nothing is due within 5 seconds, or until nothing
was delivered for 30 seconds. It is for cron, and for a look at what a configuration does; beside a running daemon it does nothing.

Exit codes: 0 all done; 1 a delivery was given up on, or a daemon runs; 75 a source failed, deliveries remain for later, or another
"tidings once" is at work; 78 the configuration is wrong.`,
		Example: `  tidings once --config config.yaml
  */10 * * * *  tidings once --config /home/me/tidings/config.yaml    # in a crontab`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			err = runOnce(cmd.Context(), cfg, cmd.OutOrStdout(), start)
			if inUse, ok := errors.AsType[*store.InUseError](err); ok && admin.Dial(cfg.Control).Ping(cmd.Context()) == nil {
				return exit(exitFailed, "the daemon, process %d, polls and delivers by itself: there is nothing to do once beside it", inUse.PID)
			}
			return err
		},
	}
	start.add(cmd)
	return cmd
}

func runOnce(ctx context.Context, cfg *config.Config, out io.Writer, start startFlags) (err error) {
	var dead, failed atomic.Int64
	count := func(n event.Notice) {
		if a, ok := n.(event.Attempted); ok && a.Outcome == event.Dead {
			dead.Add(1)
		}
	}
	e, err := newEngine(ctx, cfg, admin.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format), start, count)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()

	// The sources one after another would be as right; together they take as long as the slowest.
	var polls sync.WaitGroup
	for _, p := range e.pollers {
		polls.Go(func() {
			if p.Poll(ctx) != nil { // the log has told why
				failed.Add(1)
			}
		})
	}
	polls.Wait()
	drains, drainCtx := errgroup.WithContext(ctx)
	for _, w := range e.workers {
		drains.Go(func() error { return w.Drain(drainCtx, onceHorizon) })
	}
	if err := drains.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	owed, err := summarize(out, e.store)
	switch {
	case err != nil:
		return err
	case dead.Load() > 0:
		return exit(exitFailed, "gave up on %s in this pass; \"tidings dead list\" shows what was given up on", plural(int(dead.Load()), "delivery", "deliveries"))
	case ctx.Err() != nil:
		return exit(exitTempFail, "interrupted; the next pass goes on from here")
	case failed.Load() > 0:
		return exit(exitTempFail, "%d of %d sources failed; what they have is fetched at the next pass", failed.Load(), len(e.pollers))
	case owed > 0:
		return exit(exitTempFail, "left for later: %s", plural(int(owed), "delivery", "deliveries"))
	}
	return nil
}

// summarize prints what each sink is owed after the pass.
func summarize(out io.Writer, st *store.Store) (owed uint64, err error) {
	stats, err := st.Sinks()
	if err != nil {
		return 0, err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SINK\tSTATE\tOWED\tDEAD")
	for _, s := range stats {
		if s.Frozen {
			continue
		}
		owed += s.Owed
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\n", s.Name, s.State.Health, s.Owed, s.Dead)
	}
	return owed, w.Flush()
}
