package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tidings/admin"
	"tidings/simulator"
)

const (
	simulatedAccount = "acc_000000000000000000000001"
	simulatedKey     = "sk_test_simulated"
)

// simulated is an API that the simulator runs, and the address at which it is served.
type simulated struct {
	simulator.Simulated
	api simulator.API
	url string
}

// simulate makes the account of a preset's API; all that a preset needs is the same for one seed.
func simulate(s simulator.Simulated, seed uint64) simulator.API {
	o := simulator.Options{Seed: seed, Interval: time.Second}
	if s.Name == "flatpeak" {
		o.AccountID, o.APIKey = simulatedAccount, simulatedKey
	}
	return s.New(o)
}

// findSimulated returns the APIs of these presets, or of all where none is named.
func findSimulated(presets []string) ([]simulator.Simulated, error) {
	all := simulator.APIs()
	if len(presets) == 0 {
		return all, nil
	}
	var found []simulator.Simulated
	for _, name := range presets {
		i := slices.IndexFunc(all, func(s simulator.Simulated) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no API is simulated for a preset %q; there are %s", name, strings.Join(simulatedNames(), ", "))
		}
		if !slices.ContainsFunc(found, func(s simulator.Simulated) bool { return s.Name == name }) {
			found = append(found, all[i])
		}
	}
	return found, nil
}

func simulatedNames() (names []string) {
	for _, s := range simulator.APIs() {
		names = append(names, s.Name)
	}
	return names
}

func newSimulateCommand() *cobra.Command {
	var (
		presets []string
		listen  string
		events  int
		rate    float64
		seed    uint64
		faults  string
	)
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run simulated vendor APIs, to try a configuration against",
		Long: `Serves the API of every preset over HTTP, each under the preset's name: its login and paging, some events in the past and
new ones as time goes on, with the quirks that the vendor documents. It prints a configuration that polls them.

Scripts can watch and drive each one under NAME/_simulator/: GET events, GET facts, GET stats,
POST events?n=5&late=2m&type=T, GET and POST faults.

` + simulator.FaultsHelp(),
		Example: `  tidings simulate
  tidings simulate --preset flatpeak,stripe --events 5000 --rate 0
  tidings simulate --preset flatpeak --faults 429=0.1:3s,5xx=0.05,late=0.1:2m`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := simulator.ParseFaults(faults)
			if err != nil {
				return exit(exitUsage, "--faults: %w", err)
			}
			if !(rate >= 0 && rate <= simulator.MaxRate) {
				return exit(exitUsage, "--rate takes how many new events a second there are, at most %d, or 0 for none", simulator.MaxRate)
			}
			if events < 0 {
				return exit(exitUsage, "--events takes how many events lie in the past, or 0 for none")
			}
			chosen, err := findSimulated(presets)
			if err != nil {
				return exit(exitUsage, "--preset: %w", err)
			}
			l, err := admin.ListenTCP(cmd.Context(), listen, "--listen")
			if err != nil {
				return err
			}
			url := "http://" + l.Addr().String()
			apis := make([]simulated, len(chosen))
			for i, s := range chosen {
				api := simulate(s, seed)
				api.Backfill(events, 24*time.Hour)
				api.SetFaults(parsed)
				apis[i] = simulated{s, api, url + "/" + s.Name}
			}
			printSimulated(cmd.OutOrStdout(), url, apis, events, rate)
			g, ctx := errgroup.WithContext(cmd.Context())
			g.Go(func() error { return serve(ctx, l, simulatedHandler(apis)) })
			if rate > 0 {
				for _, s := range apis {
					g.Go(func() error { return s.api.Run(ctx, rate) })
				}
			}
			return g.Wait()
		},
	}
	cmd.Flags().StringSliceVar(&presets, "preset", nil, "the `NAMES` of the presets whose APIs are served, with commas between (default all)")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9481", "the `ADDRESS` to listen on")
	cmd.Flags().IntVar(&events, "events", 250, "how `MANY` events lie in the past 24 hours of each")
	cmd.Flags().Float64Var(&rate, "rate", 1, "how `MANY` new events a second each gets; 0 for none")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "the `NUMBER` that ids and payloads are made from")
	cmd.Flags().StringVar(&faults, "faults", "", "`FAULTS` on demand, such as late=0.1,429=0.05")
	return cmd
}

// simulatedHandler serves each API under its preset's name, and at the root which there are.
func simulatedHandler(apis []simulated) http.Handler {
	mux := http.NewServeMux()
	for _, s := range apis {
		mux.Handle("/"+s.Name+"/", http.StripPrefix("/"+s.Name, s.api))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		for _, s := range apis {
			fmt.Fprintf(w, "%-14s %s\n", s.Name, s.url)
		}
	})
	return mux
}

func printSimulated(w io.Writer, url string, apis []simulated, events int, rate float64) {
	fmt.Fprintf(w, `Simulated APIs listen at %s, each under its preset's name: %s in its past, %g a second to come.
They end with Ctrl-C. This configuration polls them; save it as config.yaml and run "tidings run --config config.yaml":

sources:
`, url, plural(events, "event", "events"), rate)
	for _, s := range apis {
		with := withLine(s.api.With(s.url))
		fmt.Fprintf(w, "  %s:\n    preset: %[1]s\n    with: %s\n    every: 1s\n    start: earliest\n", s.Name, with)
	}
	fmt.Fprintf(w, "sinks:\n  archive:\n    file: {path: events/%%Y-%%m-%%d.jsonl}\n\n")
}

// withLine writes a preset's parameters as YAML in one line, the address last.
func withLine(with map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(with)) {
		if name != "base_url" {
			parts = append(parts, fmt.Sprintf("%s: %q", name, with[name]))
		}
	}
	return "{" + strings.Join(append(parts, fmt.Sprintf("base_url: %q", with["base_url"])), ", ") + "}"
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
