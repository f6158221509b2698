// Command tidings polls event APIs on a schedule, keeps its place in each of them, takes every event in once, and delivers it
// to local handlers. This package wires the rooms together and holds the commands; what it guarantees is what the rooms do.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // CRON_TZ and a file sink's timezone work on a machine without zone data

	"github.com/spf13/cobra"

	"tidings/config"
	"tidings/store"
)

// version is set by the linker.
var version = "dev"

// Exit codes, as sysexits.h names them.
const (
	exitFailed      = 1
	exitUsage       = 64
	exitUnavailable = 69
	exitTempFail    = 75
	exitConfig      = 78
)

func main() {
	log.SetOutput(io.Discard) // only libraries write there, past the log's format: net/http what a peer sends unasked, secrets and all
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; giving the signals back lets a second one end the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code, text := verdict(err)
	if text != "" {
		fmt.Fprintln(stderr, text)
	}
	return code
}

// exitError ends the command with a code of its own.
type exitError struct {
	code int
	err  error // nil: what there was to say has been said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func exit(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// verdict gives the exit code and the text for stderr of a command that failed.
func verdict(err error) (code int, text string) {
	if e, ok := errors.AsType[*config.Errors](err); ok {
		return exitConfig, e.Error() // one problem a line, each with its place: no prefix in front
	}
	text = "tidings: " + err.Error()
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.err == nil {
			text = ""
		}
		return e.code, text
	}
	if _, ok := errors.AsType[*store.InUseError](err); ok {
		return exitTempFail, text
	}
	if _, ok := errors.AsType[*store.IdentityError](err); ok {
		return exitConfig, text
	}
	return exitFailed, text
}

// newRoot builds the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidings",
		Short: "Webhooks for servers that can't receive webhooks",
		Long: `Tidings polls event APIs on a schedule, keeps its place in each of them, takes every event in once,
and delivers it to local handlers (an HTTP endpoint, a file, a program), each with its own retries.

Start with "tidings demo": it shows the whole job and needs no account, key or file.

Exit codes: 0 done; 1 failed; 64 wrong usage; 69 the daemon can't be reached; 75 try again later; 78 wrong configuration.`,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Version:                    version,
		Args:                       onlyCommands,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit(exitUsage, "%w; see %s --help", err, cmd.CommandPath())
	})
	for _, cmd := range []*cobra.Command{newRunCommand(), newOnceCommand()} {
		addConfigFlag(cmd)
		root.AddCommand(cmd)
	}
	for _, cmd := range []*cobra.Command{
		newCheckCommand(), newStatusCommand(), newDeadCommand(), newPauseCommand(), newResumeCommand(), newStoreCommand(), newProbeCommand(),
	} {
		addConfigFlag(cmd)
		cmd.PersistentFlags().String("socket", "", "`PATH` of the daemon's control socket (default $TIDINGS_SOCKET, else what the configuration says)")
		root.AddCommand(cmd)
	}
	root.AddCommand(newDemoCommand(), newSimulateCommand(), newPresetsCommand(), newVersionCommand(), newCompletionCommand())
	root.SetHelpCommand(newHelpCommand())
	return root
}

func addConfigFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().String("config", "", "the configuration `FILE` (default $TIDINGS_CONFIG, else /etc/tidings/config.yaml)")
}

// onlyCommands refuses what is none of a command's commands, and says which may have been meant.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = cmd.Root().SuggestionsMinimumDistance
	path := cmd.CommandPath()
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		return exit(exitUsage, "there is no command \"%s %s\": did you mean \"%[1]s %[3]s\"?", path, args[0], strings.Join(names, `" or "`+path+" "))
	}
	return exit(exitUsage, "there is no command \"%s %s\"; see %[1]s --help", path, args[0])
}

// noArgs refuses arguments with the exit code for wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit(exitUsage, "%s takes no argument, got %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}
