package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"tidings/admin"
	"tidings/config"
	"tidings/store"
)

func newStoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Check, back up, compact, export and repair the store",
		Long: `The store is one file, store.db in data_dir, that holds everything that must survive. These commands work beside a running
daemon and on the store of a stopped one; repair needs the daemon to be stopped. docs/durability.md says what the store promises.`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newStoreCheckCommand(), newStoreStatsCommand(), newStoreBackupCommand(), newStoreCompactCommand(),
		newStoreExportCommand(), newStoreRepairCommand(), newDeepCheckCommand())
	return cmd
}

// bar is a progress bar on a terminal, and nothing elsewhere. A total of -1 is one that nobody knows.
func bar(cmd *cobra.Command, total int64, what string) *progressbar.ProgressBar {
	if !isTerminal(cmd.ErrOrStderr()) {
		return progressbar.DefaultBytesSilent(total, what)
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(total > 0), progressbar.OptionClearOnFinish(), progressbar.OptionSpinnerType(14), progressbar.OptionFullWidth())
}

// spin shows on a terminal that something is under way, of which nobody knows how far it is.
func spin(cmd *cobra.Command, what string) (stop func()) {
	b := bar(cmd, -1, what)
	_ = b.RenderBlank()
	return func() { _ = b.Finish() }
}

func newStoreStatsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show the size of the store and what is in it",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
				status, err := client.Status(ctx)
				if err != nil {
					return err
				}
				st, out := status.Store, cmd.OutOrStdout()
				if asJSON {
					return printJSON(out, st)
				}
				owed, dead := uint64(0), 0
				for _, s := range status.Sinks {
					owed += s.Owed
					dead += s.Dead
				}
				var rows table
				rows.add("", "file", st.Path)
				rows.add("", "size", bytesText(st.Size))
				rows.add("", "in use", bytesText(st.Used))
				rows.add("", "events", fmt.Sprint(st.Events))
				rows.add("", "remembered ids", fmt.Sprint(st.IDs))
				rows.add("", "owed deliveries", fmt.Sprint(owed))
				rows.add("", "dead letters", fmt.Sprint(dead))
				if st.Full != "" {
					rows.add("", "polling pauses", st.Full)
				}
				return rows.print(out)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func newStoreCompactCommand() *cobra.Command {
	var asJSON, dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Give the free space of the store's file back to the disk",
		Long: `Copies what the store holds into a new file, checks that, and puts it in the old one's place. A running daemon goes on
meanwhile, and waits only for the last step. The daemon does this by itself when most of the file is free.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
				status, err := client.Status(ctx)
				if err != nil {
					return err
				}
				free := max(0, status.Store.Size-status.Store.Used)
				question := fmt.Sprintf("compact %s, of which %s are free and %s are copied", status.Store.Path, bytesText(free), bytesText(status.Store.Used))
				if dryRun {
					if asJSON {
						return printJSON(cmd.OutOrStdout(), map[string]any{"before": status.Store.Size, "free": free, "dry_run": true})
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "Would %s.\n", question)
					return err
				}
				if err := proceed(cmd, question, yes); err != nil {
					return err
				}
				stop := spin(cmd, "compacting")
				done, err := client.Compact(ctx)
				stop()
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), map[string]any{"before": done.Before, "after": done.After, "took": done.Took.Seconds()})
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "Compacted from %s to %s.\n", bytesText(done.Before), bytesText(done.After))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what it would do and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func newStoreRepairCommand() *cobra.Command {
	var asJSON, dryRun, yes, reinit bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Save what can be read of a damaged store",
		Long: `Reads all that can be read of a store that is damaged, empty or missing, record by record, and makes a new store of it. The
damaged file is kept under another name. It says what was kept and what was lost, and asks before it changes anything. The daemon
must be stopped, and the disk needs room for a second store.

Deliveries that had been made may be made again; what a source lists again is recognised as far as its ids are remembered.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := configPath(cmd)
			dataDir, _, err := config.Places(path)
			if err != nil {
				return unreadable(path, err)
			}
			return repairStore(cmd, storePath(dataDir), repairFlags{asJSON, dryRun, yes, reinit})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be kept and lost, and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&reinit, "reinit", false, "make an empty store instead, and take nothing over, not even positions")
	return cmd
}

type repairFlags struct{ asJSON, dryRun, yes, reinit bool }

func repairStore(cmd *cobra.Command, path string, f repairFlags) (err error) {
	progress := bar(cmd, 100, "reading")
	repair, err := store.PlanRepair(cmd.Context(), path, store.RepairOptions{
		FromNothing: f.reinit, DeepCheck: deepCheck,
		Progress: func(done, total int64) { _ = progress.Set64(done * 100 / max(1, total)) },
	})
	_ = progress.Finish()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, repair.Discard()) }()
	out := cmd.OutOrStdout()
	tell := func() error {
		if f.asJSON {
			return printJSON(out, repair.Report)
		}
		for _, line := range repair.Report.Text() {
			fmt.Fprintln(out, printable(line))
		}
		return nil
	}
	if repair.Report.Whole {
		return tell()
	}
	if f.dryRun {
		if err := tell(); err != nil || f.asJSON {
			return err
		}
		_, err := fmt.Fprintln(out, "Nothing was changed.")
		return err
	}
	if !f.yes {
		for _, line := range repair.Report.Text() {
			fmt.Fprintln(cmd.ErrOrStderr(), printable(line))
		}
	}
	if err := proceed(cmd, "put what was saved in the place of "+path+" and keep the old file under another name", f.yes); err != nil {
		return err
	}
	if err := repair.Apply(); err != nil {
		return err
	}
	return tell()
}
