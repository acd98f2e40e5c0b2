package inspect

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// clean makes what a file says of itself fit for a terminal: one line, not long, no control characters.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > 400 {
		return string(runes[:400]) + "…"
	}
	return text
}

// cleanLines is clean of each line, moved below the first.
func cleanLines(text string) string {
	list := strings.Split(text, "\n")
	for i := range list {
		list[i] = clean(list[i])
	}
	return strings.Join(list, "\n              ")
}

func contains(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// WriteText writes it for people.
func (i *Model) WriteText(w io.Writer) error {
	t := &table{}
	t.row("file", "%s, %.1f MB", i.Path, float64(i.Bytes)/1e6)
	t.row("sha256", "%s", i.SHA256)
	if i.Catalogue != "" {
		t.row("catalogue", "%s", i.Catalogue)
	}
	for _, in := range i.Inputs {
		t.row("input", "%s", clean(in))
	}
	for _, out := range i.Outputs {
		t.row("output", "%s", clean(out))
	}
	t.row("format", "IR %d, opsets %s", i.IR, clean(strings.Join(i.Opsets, ", ")))
	t.row("weights", "%.2f million", float64(i.Parameters)/1e6)
	t.row("operators", "%s", clean(strings.Join(i.common(8), ", ")))
	if about := strings.TrimSpace(i.Program + "  " + i.Document); about != "" {
		t.row("written by", "%s", clean(about))
	}
	for _, key := range slices.Sorted(maps.Keys(i.Metadata)) {
		t.row("metadata", "%s: %s", clean(key), clean(i.Metadata[key]))
	}
	if c := i.Card; c != nil {
		t.row("card", "%s", c.File)
		t.row("  wants", "%s; levels become numbers %s", c.Wants, c.Numbers)
		t.row("  classes", "%s; activation %s", clean(c.Classes), c.Activation)
		t.row("  licence", "%s", clean(c.Licence))
		t.row("  source", "%s", clean(c.Source))
	}
	if i.Problem != "" {
		t.row("problem", "%s", cleanLines(i.Problem))
	}
	for _, g := range i.Guesses {
		sure := "perhaps"
		if g.Sure {
			sure = "surely"
		}
		t.row(sure, "%s: %s  (%s)", g.Key, g.Value, clean(g.Why))
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// table is lines of a name and what belongs to it.
type table struct{ strings.Builder }

func (t *table) row(name, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		fmt.Fprintf(t, "%-12s  %s\n", name, text)
	}
}
