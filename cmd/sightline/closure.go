package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/configs/strict"
	"sightline/runtime/closure"
)

func newClosure() *cobra.Command {
	c := &cobra.Command{
		Use: "closure", Short: "Show or export the files that a stage consists of",
		Long: `The closure of a stage is its program, the libraries that it needs or opens, its model, the
certificates that it trusts, and nothing else. It is named by a digest: the same inputs give the
same one on every machine.`,
		Example: "  sightline closure show front.yaml scene\n  sightline closure export front.yaml scene -o scene.tar",
	}
	c.AddCommand(newClosureShow(), newClosureExport())
	c.Args, c.RunE = unknown, func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}

func newClosureShow() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show FILE STAGE", Short: "List the files of a stage, and where they come from",
		Example: "  sightline closure show front.yaml scene\n  sightline closure show --json front.yaml scene",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := closureOf(c, args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return showJSON(c.OutOrStdout(), s)
			}
			return showClosure(c.OutOrStdout(), s)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	configs.AddFlags(c.Flags())
	return c
}

// closureOf computes the closure of a stage of a pipeline file.
func closureOf(c *cobra.Command, file, stage string) (*closures.Stage, error) {
	p, err := load(c, file)
	if err != nil {
		return nil, err
	}
	if closures.Kind(p, stage) == "" {
		return nil, badConfig{fmt.Errorf("%s: there is no stage %q (%s)", file, stage, stageAdvice(p, stage))}
	}
	if s, ok := p.Sinks[stage]; ok && s.JSONL != nil {
		return nil, badConfig{fmt.Errorf("%s: stage %q writes files of this machine, so it runs inline and has no closure", file, stage)}
	}
	return builderOf(c).Compute(p, stage)
}

func stageAdvice(p *configs.Pipeline, stage string) string {
	all := slices.Concat(slices.Collect(maps.Keys(p.Sources)), slices.Collect(maps.Keys(p.Models)), slices.Collect(maps.Keys(p.Sinks)))
	slices.Sort(all)
	if near := strict.Nearest(stage, all); near != "" {
		return "did you mean " + near + "?"
	}
	return "the stages are " + strings.Join(all, ", ")
}

// shown is a file of a closure, with where it comes from.
type shown struct {
	closure.File
	From     string `json:"from,omitempty"`
	NeededBy string `json:"needed_by,omitempty"`
}

func filesOf(s *closures.Stage) []shown {
	var list []shown
	for _, f := range s.Closure.Manifest.Files {
		origin := s.Closure.Origins[f.Path]
		list = append(list, shown{f, origin.Path, origin.NeededBy})
	}
	return list
}

// showJSON prints a closure for programs.
func showJSON(out io.Writer, s *closures.Stage) error {
	text, err := json.MarshalIndent(struct {
		Stage    string   `json:"stage"`
		Kind     string   `json:"kind"`
		Digest   string   `json:"digest"`
		Platform string   `json:"platform"`
		Size     int64    `json:"size"`
		GPU      bool     `json:"gpu,omitempty"`
		Notes    []string `json:"notes,omitempty"`
		Files    []shown  `json:"files"`
	}{
		s.Name, s.Kind, "sha256:" + string(s.Digest), s.Closure.Manifest.Platform, s.Closure.Manifest.Size(), s.GPU, s.Notes, filesOf(s),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("show closure: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}

// showClosure prints a closure for people.
func showClosure(out io.Writer, s *closures.Stage) error {
	m := s.Closure.Manifest
	fmt.Fprintf(out, "%s stage %s, for %s\ndigest  sha256:%s\n", s.Kind, s.Name, m.Platform, s.Digest)
	for _, note := range s.Notes {
		fmt.Fprintf(out, "note    %s\n", note)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "\nKIND\tSIZE\tSHA-256\tPATH\tFROM\n")
	for _, f := range filesOf(s) {
		if f.Link != "" {
			fmt.Fprintf(w, "%s\tlink\t\t%s → %s\t\n", f.Kind, f.Path, f.Link)
			continue
		}
		from := f.From
		switch {
		case from == "":
			from = "made here"
		case f.NeededBy != "" && f.Kind == closure.Library:
			from += ", needed by " + f.NeededBy
		}
		fmt.Fprintf(w, "%s\t%s\t%.12s\t%s\t%s\n", f.Kind, humanSize(f.Size), f.SHA256, f.Path, from)
	}
	fmt.Fprintf(w, "\ntotal\t%s\t\t%s\t%s\n", humanSize(m.Size()), fileCount(m), sizesByKind(m))
	if err := w.Flush(); err != nil {
		return fmt.Errorf("show closure: %w", err)
	}
	return nil
}

// sizesByKind sums up the files of each kind, the largest kind first.
func sizesByKind(m *closure.Manifest) string {
	sums := map[closure.Kind]int64{}
	for _, f := range m.Files {
		sums[f.Kind] += f.Size
	}
	kinds := slices.SortedFunc(maps.Keys(sums), func(a, b closure.Kind) int {
		if sums[a] != sums[b] {
			return int(min(max(sums[b]-sums[a], -1), 1))
		}
		return strings.Compare(string(a), string(b))
	})
	var texts []string
	for _, kind := range kinds {
		texts = append(texts, string(kind)+" "+humanSize(sums[kind]))
	}
	return strings.Join(texts, ", ")
}

func fileCount(m *closure.Manifest) string {
	files := 0
	for _, f := range m.Files {
		if f.Link == "" {
			files++
		}
	}
	text := plural(files, "file")
	if links := len(m.Files) - files; links > 0 {
		text += " and " + plural(links, "link")
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// humanSize writes a number of bytes with three digits.
func humanSize(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, at := float64(n)/1024, 0
	for v >= 999.5 && at < len(units)-1 {
		v, at = v/1024, at+1
	}
	digits := 2
	if v >= 9.995 {
		digits = 1
	}
	if v >= 99.95 {
		digits = 0
	}
	return fmt.Sprintf("%.*f %ciB", digits, v, units[at])
}

func newClosureExport() *cobra.Command {
	e := closures.Export{}
	c := &cobra.Command{
		Use: "export FILE STAGE -o PATH", Short: "Write the files of a stage as an image, an archive or a folder",
		Long: `Write the closure of a stage. The same closure gives the same bytes. Formats:

  oci        an OCI image: a layout in a folder, or, as a file, an archive of it that docker load,
             podman load and skopeo copy oci-archive: take; for a registry
  tar        a root file system: an archive, or a folder
  initramfs  a root file system for a Linux kernel, with --init (a file; not compressed if .cpio)
  disk       a read-only ext4 file system (a file)
  bundle     what an image builder of unikernels takes (a folder)

Of oci and tar, PATH is a file when its name ends in .tar.`,
		Example: "  sightline closure export front.yaml scene -o scene.tar && docker load -i scene.tar\n" +
			"  sightline closure export front.yaml scene --format tar -o rootfs",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if e.Path == "" {
				return badConfig{errors.New("closure export: no place to write to (add -o PATH)")}
			}
			if err := e.Check(); err != nil {
				return badConfig{err}
			}
			s, err := closureOf(c, args[0], args[1])
			if err != nil {
				return err
			}
			written, err := e.Write(s)
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "%s\n", written)
			}
			return err
		},
	}
	c.Flags().StringVarP(&e.Path, "output", "o", "", "file or folder to write")
	c.Flags().StringVar(&e.Format, "format", closures.FormatOCI, "oci, tar, initramfs, disk or bundle")
	c.Flags().StringVar(&e.Name, "name", "", "of the oci format: name of the image (default: sightline/STAGE:DIGEST)")
	c.Flags().StringVar(&e.Init, "init", "", "of the initramfs format: program that the kernel starts")
	c.Flags().BoolVar(&e.Force, "force", false, "write over what an earlier export wrote there")
	configs.AddFlags(c.Flags())
	return c
}
