package check

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes a report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s\n", r.Model, r.Provider)
	for _, p := range r.Pictures {
		p.write(&b)
	}
	if r.Judged > 0 {
		fmt.Fprintf(&b, "\n%d of %d pictures are as expected\n", r.Right, r.Judged)
	}
	if r.Refused != "" {
		fmt.Fprintf(&b, "\nA pipeline refuses it: %s\n", r.Refused)
	}
	for _, f := range r.Findings {
		f.write(&b, r.Judged)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Seen) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s", s.Name)
	switch {
	case s.Error != "":
		fmt.Fprintf(b, ": %s\n", s.Error)
		return
	case s.Problem != "":
		fmt.Fprintf(b, "  ✗ expected %s: %s", strings.Join(s.Expected, " or "), s.Problem)
	case s.Right:
		fmt.Fprintf(b, "  ✓")
	}
	b.WriteString("\n")
	for _, p := range s.Predictions {
		fmt.Fprintf(b, "  %8.4f  %4d  %s\n", p.Confidence, p.ClassID, p.Class)
	}
}

func (f *Finding) write(b *strings.Builder, judged int) {
	kinds := make([]string, len(f.Mistakes))
	for i, m := range f.Mistakes {
		kinds[i] = string(m)
	}
	likely := "Likely mistake"
	if !f.Certain {
		likely = "Perhaps a mistake"
	}
	fmt.Fprintf(b, "\n%s: %s\n  %s\n", likely, strings.Join(kinds, ", "), f.Says)
	if f.Right > f.Before {
		fmt.Fprintf(b, "  %d of %d pictures would then be as expected, instead of %d\n", f.Right, judged, f.Before)
	}
	b.WriteString("  Write into the card:\n")
	for _, s := range f.Change {
		if s.Want == "" {
			fmt.Fprintf(b, "    (leave %s out)\n", s.Key)
			continue
		}
		fmt.Fprintf(b, "    %s: %s\n", s.Key, s.Want)
	}
}
