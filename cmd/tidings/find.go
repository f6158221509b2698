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
	return cfg, unreadable(path, err)
}

// unreadable says of a configuration that can't be read what to do. Other problems it leaves as they are.
func unreadable(path string, err error) error {
	if _, ok := errors.AsType[*config.Errors](err); ok || err == nil {
		return err
	}
	switch {
	case errors.Is(err, os.ErrNotExist) && path == defaultConfig:
		err = fmt.Errorf("there is no configuration at %s: name one with --config FILE or TIDINGS_CONFIG, or see it all at work with \"tidings demo\"", path)
	case errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w; run this as root, or as a member of the group that may", err)
	}
	return &exitError{exitConfig, err}
}

// reached is what a command works on: the running daemon or, where none answers, the file of its store.
type reached struct {
	daemon      *admin.Client // nil: none answers
	store       string
	unreachable error // why none does
}

// reach finds the daemon that the user means: --socket, then TIDINGS_SOCKET, then what the configuration says. An explicit socket
// must have a daemon behind it.
func reach(cmd *cobra.Command) (reached, error) {
	socket, _ := cmd.Flags().GetString("socket")
	if socket == "" {
		socket = os.Getenv("TIDINGS_SOCKET")
	}
	if socket != "" {
		client := admin.Dial(socket)
		if err := client.Ping(cmd.Context()); err != nil {
			return reached{}, &exitError{exitUnavailable, err}
		}
		return reached{daemon: client}, nil
	}
	path := configPath(cmd)
	dataDir, control, err := config.Places(path)
	if err != nil {
		return reached{}, unreadable(path, err)
	}
	client := admin.Dial(control)
	if err := client.Ping(cmd.Context()); err != nil {
		return reached{store: storePath(dataDir), unreachable: err}, nil
	}
	return reached{daemon: client}, nil
}

// withAdmin calls use with a client of the running daemon, or, when none runs, of the store itself: the same handlers answer.
func withAdmin(cmd *cobra.Command, use func(context.Context, *admin.Client) error) error {
	at, err := reach(cmd)
	if err != nil {
		return err
	}
	if at.daemon != nil {
		return use(cmd.Context(), at.daemon)
	}
	st, err := store.Open(at.store, commandOptions())
	if _, ok := errors.AsType[*store.InUseError](err); ok {
		return exit(exitUnavailable, "a daemon uses %s and does not answer: %w", at.store, at.unreachable)
	}
	if errors.Is(err, os.ErrNotExist) {
		return exit(exitFailed, "there is no store in %s: %w", filepath.Dir(at.store), errNoStore)
	}
	if err != nil {
		return err
	}
	server := &admin.Server{Store: st, Version: version, Position: standing}
	err = use(cmd.Context(), admin.Local(server.Handler()))
	if closed := st.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close the store: %w", closed)
	}
	return err
}
