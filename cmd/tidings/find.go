package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tidings/admin"
	"tidings/config"
	"tidings/store"
)

var errNoStore = errors.New(`nothing has been polled with this configuration yet; start the daemon with "tidings run"`)

const defaultConfig = "/etc/tidings/config.yaml"

// configPath is the configuration file that the user means: --config, then TIDINGS_CONFIG, then the one under /etc.
func configPath(cmd *cobra.Command) string {
	if path, _ := cmd.Flags().GetString("config"); path != "" {
		return path
	}
	if path := os.Getenv("TIDINGS_CONFIG"); path != "" {
		return path
	}
	return defaultConfig
}

func loadConfig(cmd *cobra.Command) (*config.Config, error) {
	path := configPath(cmd)
	cfg, err := config.Load(path)
	if errors.Is(err, os.ErrNotExist) && path == defaultConfig {
		return nil, exit(exitConfig, "there is no configuration at %s: name one with --config FILE or TIDINGS_CONFIG, or see it all at work with \"tidings demo\"", path)
	}
	if _, ok := errors.AsType[*config.Errors](err); err != nil && !ok {
		return nil, &exitError{exitConfig, err}
	}
	return cfg, err
}

// withAdmin calls use with a client of the running daemon, or, when none runs, of the store itself: the same handlers answer.
// An explicit socket (--socket, TIDINGS_SOCKET) must have a daemon behind it.
func withAdmin(cmd *cobra.Command, use func(context.Context, *admin.Client) error) error {
	ctx := cmd.Context()
	socket, _ := cmd.Flags().GetString("socket")
	if socket == "" {
		socket = os.Getenv("TIDINGS_SOCKET")
	}
	if socket != "" {
		client := admin.Dial(socket)
		if err := client.Ping(ctx); err != nil {
			return &exitError{exitUnavailable, err}
		}
		return use(ctx, client)
	}
	dataDir, control, err := config.Places(configPath(cmd))
	if err != nil {
		return &exitError{exitConfig, err}
	}
	client := admin.Dial(control)
	unreachable := client.Ping(ctx)
	if unreachable == nil {
		return use(ctx, client)
	}
	st, err := store.Open(storePath(dataDir), commandOptions())
	if _, ok := errors.AsType[*store.InUseError](err); ok {
		return exit(exitUnavailable, "a daemon uses %s and does not answer: %w", storePath(dataDir), unreachable)
	}
	if errors.Is(err, os.ErrNotExist) {
		return exit(exitFailed, "there is no store in %s: %w", filepath.Clean(dataDir), errNoStore)
	}
	if errors.Is(err, os.ErrPermission) {
		return exit(exitFailed, "%w; ask as the user that the daemon runs as, with sudo -u", err)
	}
	if err != nil {
		return err
	}
	server := &admin.Server{Store: st, Version: version, Position: newest}
	err = use(ctx, admin.Local(server.Handler()))
	if closed := st.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close the store: %w", closed)
	}
	return err
}
