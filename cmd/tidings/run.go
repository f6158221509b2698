package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tidings/admin"
	"tidings/config"
	"tidings/event"
)

func newRunCommand() *cobra.Command {
	var start startFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Runs the daemon in the foreground: polls every source on its schedule and delivers to every sink, until SIGTERM or
Ctrl-C. Attempts in flight then get until their timeout, at most 10 seconds; nothing is lost if they are cut off. A second Ctrl-C
ends it at once. SIGHUP ends it where it has a terminal, and is ignored where it has none.

Exit codes: 0 it was told to end; 1 it can't go on; 75 another process uses the store; 78 the configuration is wrong.`,
		Example: `  tidings run --config config.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			log := admin.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format)
			ctx, stop := hangUp(cmd.Context(), log)
			defer stop()
			return runDaemon(ctx, cfg, log, start)
		},
	}
	start.add(cmd)
	return cmd
}

// hangUp decides what SIGHUP does. From a terminal that goes away it is an order to end. Elsewhere it asks a daemon to read its
// configuration again: this one can't, and must not end for it, since systemd takes such an end for one that was wanted.
func hangUp(ctx context.Context, log *slog.Logger) (context.Context, context.CancelFunc) {
	nohup := signal.Ignored(syscall.SIGHUP)
	if !nohup && (isTerminal(os.Stdin) || isTerminal(os.Stderr)) {
		return signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGHUP)
	var telling sync.WaitGroup
	telling.Go(func() {
		for range came {
			log.Warn("SIGHUP is ignored: restart the daemon to have its configuration read again")
		}
	})
	return ctx, func() {
		signal.Stop(came)
		close(came)
		telling.Wait()
	}
}

// startFlags are what a person may allow at a start.
type startFlags struct{ acceptReset, allowNetworkFS bool }

func (f *startFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.acceptReset, "accept-reset", false, "let a source that names another account or API than before start anew")
	cmd.Flags().BoolVar(&f.allowNetworkFS, "allow-network-fs", false, "keep the store on a network file system, at the risk of its damage")
}

// runDaemon is the daemon from its first line to its last; reading it is reading the architecture.
func runDaemon(ctx context.Context, cfg *config.Config, log *slog.Logger, start startFlags) (err error) {
	systemd := admin.NewNotifier()
	defer func() {
		if err != nil {
			systemd.Fail(err)
		}
	}()
	var watch []func(event.Notice)
	metrics := admin.NewMetrics(topology(cfg))
	if cfg.Web.Listen != "" {
		watch = append(watch, metrics.Notify)
	}
	e, err := newEngine(ctx, cfg, log, start, watch...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	control, err := admin.Listen(cfg.Control)
	if err != nil {
		return err
	}
	server := &admin.Server{Store: e.store, Live: e.live, Version: version, Position: standing, Log: log}
	web := &admin.Web{Server: server, Metrics: metrics, Healthy: e.healthy, Listen: cfg.Web.Listen}
	var monitors net.Listener
	if cfg.Web.Listen != "" {
		if monitors, err = admin.ListenTCP(ctx, cfg.Web.Listen, "web.listen"); err != nil {
			return errors.Join(err, control.Close())
		}
	}
	log.Info("started", "version", version, "config", cfg.File, "sources", len(cfg.Sources), "sinks", len(cfg.Sinks), "data_dir", cfg.DataDir)
	if monitors != nil {
		log.Info("metrics and health can be asked for", "listen", monitors.Addr().String())
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.run(ctx) })
	g.Go(func() error { return server.Serve(ctx, control) })
	if monitors != nil {
		g.Go(func() error { return web.Serve(ctx, monitors) })
	}
	g.Go(func() error { return systemd.Watchdog(ctx, e.healthy) })
	g.Go(func() error { return systemd.Tell(ctx, server) })
	systemd.Ready()
	g.Go(func() error {
		<-ctx.Done()
		systemd.Stopping()
		log.Info("stopping", "why", context.Cause(ctx))
		return nil
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("the daemon ends: %w", err)
	}
	log.Info("stopped")
	return nil
}
