package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tidings/store"
)

// deepCheckCPU is what a check may use.
const deepCheckCPU = 10 * time.Minute

func newDeepCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "deep-check FILE",
		Short:  "Check a store's file in this process, for another one",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			limit := uint64(deepCheckCPU / time.Second)
			_ = unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: limit, Max: limit})
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
			report, err := store.CheckFile(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(report)
		},
	}
}

// deepCheck checks a store's file in a process of its own, this program once more: a damaged file can make the library that reads
// it fault or go round in circles, and that must end nothing but the check.
func deepCheck(ctx context.Context, path string) (store.CheckReport, error) {
	program, err := os.Executable()
	if err != nil {
		return store.CheckReport{}, fmt.Errorf("start a check of %s: %w", path, err)
	}
	return checkBy(ctx, path, deepCheckCPU, program, "store", "deep-check", path)
}

func checkBy(ctx context.Context, path string, limit time.Duration, command ...string) (report store.CheckReport, err error) {
	whole := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %s", limit))
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = []string{"GOTRACEBACK=none", "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	if err = cmd.Run(); err == nil {
		err = json.Unmarshal(out.Bytes(), &report)
	} else if cause := context.Cause(whole); cause != nil {
		return report, cause
	} else if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Exited() && e.ExitCode() == exitTempFail {
		return report, &store.InUseError{Path: path}
	} else if ok && e.Exited() && strings.HasPrefix(errs.String(), "tidings: ") {
		err = errors.New(strings.TrimSpace(strings.TrimPrefix(errs.String(), "tidings: ")))
		return report, err
	}
	if err != nil {
		return report, fmt.Errorf("the check of %s did not come to an end, as damage can make it: %w", path, err)
	}
	return report, nil
}
