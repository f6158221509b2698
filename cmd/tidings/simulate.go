package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tidings/simulator"
)

const (
	simulatedAccount = "acc_000000000000000000000001"
	simulatedKey     = "sk_test_simulated"
)

func newSimulateCommand() *cobra.Command {
	var (
		listen string
		events int
		rate   float64
		seed   uint64
		faults string
	)
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a simulated Flatpeak account, to try a configuration against",
		Long: `Serves a simulated Flatpeak account over HTTP: login, the event list with its paging, and events of every documented
type, some in the past and then new ones as time goes on. It prints a configuration that polls it.

` + simulator.FaultsHelp(),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := simulator.ParseFaults(faults)
			if err != nil {
				return exit(exitUsage, "--faults: %w", err)
			}
			if rate < 0 {
				return exit(exitUsage, "--rate takes how many new events a second there are, or 0 for none")
			}
			if events < 0 {
				return exit(exitUsage, "--events takes how many events lie in the past, or 0 for none")
			}
			sim := simulator.NewFlatpeak(simulator.Options{Seed: seed, AccountID: simulatedAccount, APIKey: simulatedKey})
			sim.Backfill(events, 24*time.Hour)
			sim.SetFaults(parsed)
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("--listen %s: %w", listen, err)
			}
			printSimulated(cmd.OutOrStdout(), "http://"+l.Addr().String(), events, rate)
			g, ctx := errgroup.WithContext(cmd.Context())
			g.Go(func() error { return serve(ctx, l, sim) })
			if rate > 0 {
				g.Go(func() error { return sim.Run(ctx, rate) })
			}
			return g.Wait()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9481", "the `ADDRESS` to listen on")
	cmd.Flags().IntVar(&events, "events", 250, "how `MANY` events lie in the past 24 hours")
	cmd.Flags().Float64Var(&rate, "rate", 1, "new events a second; 0 for none")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "the seed of ids and payloads")
	cmd.Flags().StringVar(&faults, "faults", "", "faults on demand, such as late=0.1,429=0.05")
	return cmd
}

func printSimulated(w io.Writer, url string, events int, rate float64) {
	fmt.Fprintf(w, `A simulated Flatpeak account listens at %s: %d events in its past, about %g new ones a second.
It ends with Ctrl-C. This configuration polls it; save it as config.yaml and run "tidings run --config config.yaml":

sources:
  simulated:
    preset: flatpeak
    with: {account_id: %s, api_key: %s, base_url: "%s"}
    every: 1s
    start: earliest
sinks:
  archive:
    file: {path: events/%%Y-%%m-%%d.jsonl}

`, url, events, rate, simulatedAccount, simulatedKey, url)
}

// serve answers HTTP on l until ctx ends.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	// Requests end with ctx: a simulated hang does not hold up the end.
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var g errgroup.Group
	g.Go(func() error {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := srv.Shutdown(bounded); err != nil {
			return srv.Close()
		}
		return nil
	})
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return g.Wait()
}
