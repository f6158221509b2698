package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tidings/recipe"
)

// dirUsage is where a user's own presets are: what the configuration has as `presets`.
const dirUsage = "look in this `DIR` as well, as the configuration's presets: does; what stands there goes before what is built in"

func newPresetsCommand() *cobra.Command {
	var asJSON bool
	var dir string
	cmd := &cobra.Command{
		Use:   "presets",
		Short: "List the presets: vendors' APIs as data",
		Long: `Lists the presets, which a source names with "preset: NAME". "tidings presets show NAME" prints one as YAML: a copy of it with
your changes is a preset as well, named by its path ("preset: ./mine.yaml"), or by its name with "presets: DIR".`,
		Example: `  tidings presets
  tidings presets show stripe > mine.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := allPresets(dir)
			if err != nil {
				return err
			}
			return listPresets(cmd.OutOrStdout(), found, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.PersistentFlags().StringVar(&dir, "dir", "", dirUsage)
	cmd.AddCommand(newPresetsShowCommand(&dir))
	return cmd
}

func newPresetsShowCommand(dir *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME|FILE",
		Short: "Print a preset as YAML, and check it",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit(exitUsage, "%s takes the name of one preset, or its file; see tidings presets", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []cobra.Completion
			for _, name := range recipe.Names() {
				if p, err := recipe.Find(name); err == nil {
					names = append(names, cobra.CompletionWithDesc(name, p.About))
				}
			}
			return names, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := presetText(args[0], *dir)
			if err != nil {
				return err
			}
			p, err := recipe.Parse(text)
			if err != nil {
				return exit(exitConfig, "the preset %s: %w", args[0], err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), presetJSON(p))
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what the list has of it, as one JSON object")
	return cmd
}

// presetText finds a preset's YAML as the configuration does: a file, one in the user's directory, one that is built in.
func presetText(name, dir string) ([]byte, error) {
	if recipe.IsFile(name) {
		return recipe.ReadFile(name)
	}
	if dir != "" {
		if file := filepath.Join(dir, name+".yaml"); exists(file) {
			return recipe.ReadFile(file)
		}
	}
	text, err := recipe.Text(name)
	if err != nil {
		return nil, exit(exitUsage, "%w", err)
	}
	return text, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// allPresets returns the presets that are built in and those in dir, by name.
func allPresets(dir string) ([]*recipe.Preset, error) {
	names := map[string]bool{}
	for _, name := range recipe.Names() {
		names[name] = true
	}
	if dir != "" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("list your own presets: %w", err)
		}
		for _, e := range entries {
			if name, yaml := strings.CutSuffix(e.Name(), ".yaml"); yaml {
				names[name] = true
			}
		}
	}
	var found []*recipe.Preset
	for _, name := range slices.Sorted(maps.Keys(names)) {
		text, err := presetText(name, dir)
		if err != nil {
			return nil, err
		}
		p, err := recipe.Parse(text)
		if err != nil {
			return nil, exit(exitConfig, "the preset %s: %w", name, err)
		}
		p.Name = name // what a source names it by
		found = append(found, p)
	}
	return found, nil
}

func listPresets(out io.Writer, found []*recipe.Preset, asJSON bool) error {
	var rows table
	rows.add("", "PRESET", "ASKS FOR", "WHAT IT LISTS")
	for _, p := range found {
		if asJSON {
			if err := printJSON(out, presetJSON(p)); err != nil {
				return err
			}
			continue
		}
		rows.add("", p.Name, strings.Join(required(p), ", "), p.About)
	}
	if asJSON {
		return nil
	}
	return rows.print(out)
}

// required lists the parameters that a preset can't do without.
func required(p *recipe.Preset) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.With)) {
		if p.With[name].Required {
			names = append(names, name)
		}
	}
	return names
}

type presetLine struct {
	Name  string                 `json:"name"`
	About string                 `json:"about"`
	Docs  string                 `json:"docs"`
	With  map[string]presetParam `json:"with"`
	Feeds []string               `json:"feeds,omitempty"`
}

type presetParam struct {
	About    string `json:"about"`
	Required bool   `json:"required"`
	Secret   bool   `json:"secret"`
	Default  string `json:"default,omitempty"`
	Example  string `json:"example,omitempty"`
}

func presetJSON(p *recipe.Preset) presetLine {
	line := presetLine{Name: p.Name, About: p.About, Docs: p.Docs, With: map[string]presetParam{}}
	for name, param := range p.With {
		line.With[name] = presetParam(param)
	}
	for _, f := range p.Feeds {
		line.Feeds = append(line.Feeds, f.Name)
	}
	return line
}
