package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sightline/models/catalogue"
)

func newModelsPull() *cobra.Command {
	var from string
	var replace bool
	c := &cobra.Command{
		Use: "pull NAME…", Short: "Fetch models of the catalogue into the model store",
		Long: `Fetch models with their cards and labels. A model gets its name only when its size and its SHA-256
are those of the catalogue. What an interrupted pull has is kept, and the next one goes on from there.

--from names a mirror: another model store, a folder or an address with the files of the model zoo, or
a clone of it. A mirror need not be trusted.`,
		Example: "  sightline models pull mobilenetv2-12\n  sightline models pull --from /media/usb mobilenetv2-12 squeezenet1.1",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			store, err := storeOf(c)
			if err != nil {
				return err
			}
			var entries []catalogue.Entry
			for _, name := range names {
				e, ok := catalogue.Find(name)
				if !ok {
					return badConfig{fmt.Errorf("pull: %w", &catalogue.UnknownError{Name: name})}
				}
				entries = append(entries, e)
			}
			for _, e := range entries {
				if err := pullModel(c, catalogue.Puller{Store: store, From: from, Replace: replace}, e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&from, "from", "", "folder or address of a mirror, instead of the model zoo")
	c.Flags().BoolVar(&replace, "replace", false, "overwrite a file of that name that is another one, its card and its labels")
	return c
}

func pullModel(c *cobra.Command, p catalogue.Puller, e catalogue.Entry) error {
	out := c.OutOrStdout()
	progress := &pullBar{out: out, name: e.Name, terminal: overwritable(out), shown: -1}
	p.Report = func(step catalogue.Progress) { progress.step(step.Done, step.Total, step.Note) }
	done, err := p.Pull(c.Context(), e)
	progress.end()
	if err != nil {
		return err
	}
	for _, kept := range done.Kept {
		fmt.Fprintf(out, "%s  kept as it is: %s (--replace overwrites it)\n", e.Name, kept)
	}
	verb := "ready"
	if done.Already {
		verb = "was there already"
	}
	_, err = fmt.Fprintf(out, "%s  %s: %s (%s)\n", e.Name, verb, done.Path, e.Licence)
	return err
}

// overwritable tells whether lines written to out can be overwritten: whether it is a terminal.
func overwritable(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// pullBar shows how far something is: on a terminal one line that is overwritten, elsewhere a line for every tenth.
type pullBar struct {
	out      io.Writer
	name     string
	terminal bool
	shown    int // the last step that was shown; -1: none
	open     bool
}

// barWidth is the characters of a whole bar.
const barWidth = 30

func (b *pullBar) step(done, total int64, note string) {
	part := done * 100 / max(total, 1)
	switch {
	case note != "":
		b.end()
		fmt.Fprintf(b.out, "%s  %s\n", b.name, note)
	case b.terminal && int(part) != b.shown:
		b.shown, b.open = int(part), true
		filled := int(part) * barWidth / 100
		fmt.Fprintf(b.out, "\r%s  %s%s %3d%%  %.1f of %.1f MB", b.name, strings.Repeat("█", filled), strings.Repeat("░", barWidth-filled), part,
			float64(done)/1e6, float64(total)/1e6)
	case !b.terminal && int(part/10) != b.shown:
		b.shown = int(part / 10)
		fmt.Fprintf(b.out, "%s  %3d%%  %.1f of %.1f MB\n", b.name, part, float64(done)/1e6, float64(total)/1e6)
	}
}

// end leaves the line that is overwritten.
func (b *pullBar) end() {
	if b.open {
		fmt.Fprintln(b.out)
	}
	b.open = false
}
