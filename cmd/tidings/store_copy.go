package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"tidings/admin"
	"tidings/store"
)

func newStoreCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check every page and every record of the store",
		Long: `Reads every page and every record of the store and changes nothing. Beside a running daemon it checks a backup of that moment,
for which $TMPDIR needs room. Exit code 1: something is damaged.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withCopy(cmd, func(ctx context.Context, path, name string) error {
				stop := spin(cmd, "checking")
				report, err := deepCheck(ctx, path)
				stop()
				if err != nil {
					return err
				}
				report.Path = name
				return tellCheck(cmd.OutOrStdout(), report, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func tellCheck(out io.Writer, r store.CheckReport, asJSON bool) error {
	bad := &exitError{code: exitFailed}
	if asJSON {
		if err := printJSON(out, r); err != nil || len(r.Problems) == 0 && r.Unreadable == 0 {
			return err
		}
		return bad
	}
	for _, p := range r.Problems {
		fmt.Fprintln(out, "Damaged:", printable(p))
	}
	for _, name := range r.Samples {
		fmt.Fprintln(out, "Can't be read:", printable(name))
	}
	if r.Warning != "" {
		fmt.Fprintln(out, "Warning:", r.Warning)
	}
	switch {
	case len(r.Problems) > 0:
		fmt.Fprintf(out, "The store %s is damaged: restore a backup, or run \"tidings store repair\".\n", r.Path)
		return bad
	case r.Unreadable > 0:
		fmt.Fprintf(out, "%d records of the store %s can't be read: the daemon sets each aside when it meets it, and goes on.\n", r.Unreadable, r.Path)
		return bad
	}
	_, err := fmt.Fprintf(out, "The store %s is whole: %s, %s, every page and every record.\n", r.Path, bytesText(r.Size), plural(r.Records["log"], "event", "events"))
	return err
}

func newStoreExportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write positions, owed deliveries, replays and dead letters as JSON lines",
		Long: `Writes where each source stands, what each sink is owed, each replay with what it has left, and every dead letter, as one JSON
object a line, to standard output or to a file. Beside a running daemon it exports a backup of that moment, for which $TMPDIR needs room.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" {
				if err := mayReplace(output, isExport); err != nil {
					return err
				}
			}
			return withCopy(cmd, func(ctx context.Context, path, _ string) error {
				st, err := store.Open(path, commandOptions())
				if err != nil {
					return err
				}
				write := func(w io.Writer) error {
					buffered := bufio.NewWriterSize(w, 256<<10)
					_, err := st.Export(ctx, buffered)
					return errors.Join(err, buffered.Flush())
				}
				if output == "" {
					return errors.Join(write(cmd.OutOrStdout()), st.Close())
				}
				defer spin(cmd, "exporting")()
				err = store.PlaceFile(output, func(f *os.File) error { return write(f) }, nil)
				return errors.Join(err, st.Close())
			})
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `FILE`, which is there as a whole or not at all, and replaces an older export")
	cmd.Flags().Bool("json", true, "JSON lines are all it writes")
	return cmd
}

func newStoreBackupCommand() *cobra.Command {
	var asJSON, dryRun bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Back up the store, also while the daemon works",
		Long: `Writes the store as it stands at one moment to FILE, checks it, and only then puts it in place; an older backup under that name
is replaced. A running daemon goes on meanwhile. FILE is yours: you write it, not the daemon. Its disk must have room for two.

To restore it, stop the daemon, put the file in the place of store.db, and start again: see docs/durability.md for what that repeats.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return exit(exitUsage, "name one file to write; see %s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return backupTo(cmd, args[0], asJSON, dryRun)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say how large it would be and write nothing")
	return cmd
}

var errDryRun = errors.New("dry run")

func backupTo(cmd *cobra.Command, file string, asJSON, dryRun bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if err := mayReplace(file, isBackup); err != nil {
		return err
	}
	var size int64
	fetch := func(f *os.File) error {
		return withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
			return client.Backup(ctx, func(n int64) (io.Writer, error) {
				if size = n; dryRun {
					return nil, errDryRun
				}
				if err := roomFor(filepath.Dir(file), 2*n); err != nil {
					return nil, err
				}
				return io.MultiWriter(f, bar(cmd, n, "backup")), nil
			})
		})
	}
	if dryRun {
		if err := fetch(nil); !errors.Is(err, errDryRun) {
			return err
		}
	} else if err := store.PlaceFile(file, fetch, func(path string) error {
		defer spin(cmd, "checking")()
		report, err := deepCheck(ctx, path)
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			return fmt.Errorf("the backup is not as it should be, and was dropped: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, map[string]any{"file": file, "size": size, "checked": !dryRun, "dry_run": dryRun})
	}
	if dryRun {
		_, err := fmt.Fprintf(out, "Would write %s to %s.\n", bytesText(size), file)
		return err
	}
	_, err := fmt.Fprintf(out, "Wrote %s to %s, and checked it.\n", bytesText(size), file)
	return err
}

// mayReplace refuses to put a file in the place of one that is not of its kind.
func mayReplace(file string, same func(file string) error) error {
	info, err := os.Stat(file)
	switch {
	case strings.HasSuffix(file, string(filepath.Separator)), err == nil && !info.Mode().IsRegular():
		return exit(exitUsage, "%s is no file: name the file that is to be written", file)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return same(file)
}

func isExport(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	begin := make([]byte, len(store.ExportBegin))
	if n, err := io.ReadFull(f, begin); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	} else if n > 0 && string(begin[:n]) != store.ExportBegin {
		return exit(exitUsage, "%s is there already and is no export: name another file", file)
	}
	return nil
}

func isBackup(file string) error {
	inUse, err := store.CheckHeader(file)
	if err != nil {
		return exit(exitUsage, "%s is there already and is no backup (%w): name another file", file, err)
	}
	if inUse || store.IsPlace(file) {
		return exit(exitUsage, "%s is a store, not a backup of one: name another file", file)
	}
	return nil
}

func roomFor(dir string, need int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for the room of the disk of %s: %w", dir, err)
	}
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < need {
		return fmt.Errorf("the disk of %s has %s free, and this needs %s: make room, or name a place on another disk", dir, bytesText(free), bytesText(need))
	}
	return nil
}

// withCopy calls use with a store that nobody writes to: that of a stopped daemon, or a backup of a running one's.
func withCopy(cmd *cobra.Command, use func(ctx context.Context, path, name string) error) error {
	at, err := reach(cmd)
	if err != nil {
		return err
	}
	if at.daemon == nil {
		if err := store.Present(at.store); errors.Is(err, os.ErrNotExist) {
			return exit(exitFailed, "there is no store in %s: %w", filepath.Dir(at.store), errNoStore)
		} else if err != nil {
			return err
		}
		return use(cmd.Context(), at.store, at.store)
	}
	dir, err := os.MkdirTemp("", "tidings-copy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	status, err := at.daemon.Status(cmd.Context())
	if err != nil {
		return err
	}
	copied := filepath.Join(dir, "store.db")
	f, err := os.OpenFile(copied, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = at.daemon.Backup(cmd.Context(), func(n int64) (io.Writer, error) {
		if err := roomFor(dir, n+n/8); err != nil {
			return nil, fmt.Errorf("%w; $TMPDIR names another", err)
		}
		return io.MultiWriter(f, bar(cmd, n, "copy")), nil
	})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return use(cmd.Context(), copied, status.Store.Path)
}

// commandOptions open a store for a command: nothing is created, no history is collected by a look, and what a person does once
// may be done on any file system.
func commandOptions() store.Options {
	return store.Options{Keep: math.MaxInt64, AllowNetworkFS: true, DeepCheck: deepCheck}
}
