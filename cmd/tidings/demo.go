package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"tidings/config"
	"tidings/simulator"
)

// demoConfig is what the demo runs on, written to its directory: a real configuration, for a user to look at and change.
const demoConfig = `# The demo's configuration: a simulated %[1]s and three sinks.
sources:
  %[2]s:
    preset: %[2]s
    with: %[3]s
    every: 1s
    start: earliest
sinks:
  app:
    http: {url: "%[4]s/webhooks"}
    retry: {initial: 500ms, max: 5s}
  archive:
    file: {path: "%[5]s/events/%%Y-%%m-%%d.jsonl"}
  script:
    exec: {command: [/bin/sh, "%[5]s/on-event.sh"]}
`

// demoScript is the program that the exec sink runs for each event.
const demoScript = `#!/bin/sh
# The event is on standard input, its facts are in the environment.
cat >/dev/null
echo "$TIDINGS_EVENT_TIME $TIDINGS_EVENT_TYPE $TIDINGS_EVENT_ID" >>"$(dirname "$0")/seen.txt"
`

const (
	demoHistory = 20  // events that lie in the past
	demoRate    = 3   // new events a second
	demoRefused = 0.2 // share of requests that the HTTP receiver refuses
	demoQuiet   = 3 * time.Second
)

func newDemoCommand() *cobra.Command {
	var (
		preset string
		length time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole job, with simulated APIs and three sinks",
		Long: `Shows the whole job with no account, key or file: a simulated API, the daemon, and three sinks: an HTTP endpoint that
refuses now and then, a file, and a program. All of it lives in a temporary directory, which stays, and on loopback.

Each line is an event and what each sink said to it. At the end, TAKEN IN is how many events there were, and REPEATED BY THE API how
often one was listed again, which makes no second delivery.`,
		Example: `  tidings demo --for 10s
  tidings demo --preset stripe`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if length < 0 {
				return exit(exitUsage, "--for takes a duration above zero, such as 10s")
			}
			chosen, err := findSimulated([]string{preset})
			if err != nil {
				return exit(exitUsage, "--preset: %w", err)
			}
			return runDemo(cmd.Context(), cmd.OutOrStdout(), chosen[0], length, asJSON)
		},
	}
	cmd.Flags().StringVar(&preset, "preset", "flatpeak", "the `NAME` of the preset that polls: "+strings.Join(simulatedNames(), ", "))
	cmd.Flags().DurationVar(&length, "for", 0, "end by itself after this `TIME`, such as 10s (default: at Ctrl-C)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print nothing but the summary, as JSON")
	return cmd
}

func runDemo(ctx context.Context, out io.Writer, preset simulator.Simulated, length time.Duration, asJSON bool) (err error) {
	dir, err := os.MkdirTemp("", "tidings-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	seed := uint64(time.Now().UnixNano())
	sim := simulate(preset, seed)
	sim.Backfill(demoHistory, 24*time.Hour)
	sim.SetFaults(simulator.Faults{Late: simulator.Fault{Share: 0.1, For: 30 * time.Second}, Twice: simulator.Fault{Share: 0.1}})
	receiver := simulator.NewReceiver(simulator.ReceiverOptions{Seed: seed, Refuse: demoRefused})
	apiListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen on loopback: %w", err)
	}
	appListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(fmt.Errorf("listen on loopback: %w", err), apiListener.Close())
	}
	api := simulated{preset, sim, "http://" + apiListener.Addr().String()}
	app := "http://" + appListener.Addr().String()

	// The servers outlive the engine: what is in flight when the demo ends is still answered.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	servers, serving := errgroup.WithContext(serving)
	servers.Go(func() error { return serve(serving, apiListener, sim) })
	servers.Go(func() error { return serve(serving, appListener, receiver) })
	defer func() {
		stopServing()
		err = errors.Join(err, servers.Wait())
	}()

	cfg, err := demoFiles(dir, api, app)
	if err != nil {
		return err
	}
	p := newDemoPrinter(out, asJSON, cfg)
	e, err := newEngine(ctx, cfg, slog.New(slog.DiscardHandler), startFlags{}, p.notify)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	p.intro(preset.About, dir, length)

	arrivals := ctx
	if length > 0 {
		var cancel, quiet context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
		// Nothing new arrives at the end, so that the last events are seen through.
		arrivals, quiet = context.WithTimeout(ctx, max(length-demoQuiet, length/2))
		defer quiet()
	}
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return sim.Run(arrivals, demoRate) })
	g.Go(func() error { return e.run(running) })
	if err := g.Wait(); err != nil {
		return err
	}
	return p.summary(e, dir)
}

// demoFiles writes the demo's configuration and script and loads the configuration as the daemon would.
func demoFiles(dir string, api simulated, app string) (*config.Config, error) {
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(demoConfig, api.About, api.Name, withLine(api.api.With(api.url)), app, dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "on-event.sh"), []byte(demoScript), 0o700); err != nil {
		return nil, fmt.Errorf("write the demo's script: %w", err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	cfg.DataDir = dir // whatever $STATE_DIRECTORY says: the demo stays in its directory
	return cfg, nil
}

// demoSummary is what the demo says at its end, by --json as well.
type demoSummary struct {
	Directory string              `json:"directory"`
	Source    demoSource          `json:"source"`
	Sinks     map[string]demoSink `json:"sinks"`
}

type demoSource struct {
	Listed   int `json:"listed"`
	TakenIn  int `json:"taken_in"`
	Repeated int `json:"repeated"`
}

type demoSink struct {
	Delivered int    `json:"delivered"`
	Retried   int    `json:"retried"`
	Owed      uint64 `json:"owed"`
	Dead      int    `json:"dead"`
}

func (p *demoPrinter) summary(e *engine, dir string) error {
	stats, err := e.store.Sinks()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := demoSummary{Directory: dir, Source: p.counted(), Sinks: map[string]demoSink{}}
	for _, sink := range stats {
		c := p.counts[sink.Name]
		s.Sinks[sink.Name] = demoSink{c.delivered, c.retried, sink.Owed, sink.Dead}
	}
	if p.quiet {
		enc := json.NewEncoder(p.out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return p.table(s, stats)
}
