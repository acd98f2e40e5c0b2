package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"sightline/pipeline"
	"sightline/runtime/supervisor"
	"sightline/runtime/supervisor/control"
)

func newPs() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "ps", Short: "Show how the stages of the running supervisor do",
		Long: `One line for each stage: its box and what it is doing, for how long, how often it was started again
and why, the processor time and memory that it uses, the bytes that crossed its wire, and what is wrong.
Below is what processes are not protected by on this machine; --json says too what they are protected by.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return talk(c, func(client *control.Client) error {
				states, err := client.List(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					encoder := json.NewEncoder(c.OutOrStdout())
					encoder.SetIndent("", "  ")
					return encoder.Encode(states)
				}
				if err := showStates(c.OutOrStdout(), states, time.Now()); err != nil {
					return err
				}
				showLacks(c.OutOrStdout(), states)
				return showNotes(c, client)
			})
		},
	}
	addState(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print all that is known, as JSON")
	return c
}

// showNotes prints what there is to know besides the stages.
func showNotes(c *cobra.Command, client *control.Client) error {
	notes, err := client.Notes(c.Context())
	if err != nil {
		return nil //nolint:nilerr // a supervisor of before has none
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(c.OutOrStdout(), "note: "+note); err != nil {
			return err
		}
	}
	return nil
}

// showStates prints a table of stages.
func showStates(out io.Writer, states []supervisor.State, now time.Time) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "STAGE\tKIND\tBOX\tSTATE\tSINCE\tRESTARTS\tCPU\tMEMORY\tIN\tOUT\tPROBLEM")
	for _, s := range states {
		cpu, memory := "–", "–"
		if s.Measured {
			cpu, memory = fmt.Sprintf("%.1fs", s.CPU), size(uint64(s.Memory))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Stage, s.Kind, s.Driver, stateText(s),
			now.Sub(s.Since).Round(time.Second), restarts(s), cpu, memory, size(s.Sent), size(s.Received), problem(s, now))
	}
	return table.Flush()
}

// showLacks says what does not protect stages: each once, with the stages that it is so of.
func showLacks(out io.Writer, states []supervisor.State) {
	var order []string
	stages := map[string][]string{}
	for _, s := range states {
		for _, what := range s.Lacks {
			if stages[what] == nil {
				order = append(order, what)
			}
			stages[what] = append(stages[what], s.Stage)
		}
	}
	for _, what := range order {
		fmt.Fprintf(out, "lacks: %s (%s)\n", what, strings.Join(stages[what], ", "))
	}
}

func stateText(s supervisor.State) string {
	text := string(s.Phase)
	if s.Phase == supervisor.Running && !s.Ready && s.Kind != "" {
		text += ", not ready"
	}
	if s.Trial {
		text += ", on trial"
	}
	return text
}

func restarts(s supervisor.State) string {
	if s.Last == nil || s.Restarts == 0 {
		return fmt.Sprint(s.Restarts)
	}
	return fmt.Sprintf("%d (%s)", s.Restarts, s.Last.Reason)
}

// problem says what is wrong with a stage, on one line: a part of it may be the stage's own words.
func problem(s supervisor.State, now time.Time) string {
	text := oneLine(pipeline.RedactText(s.Problem))
	if wait := s.Next.Sub(now); wait > 0 {
		text = fmt.Sprintf("again in %s: %s", wait.Round(time.Second), text)
	}
	return text
}

// oneLine writes what somebody else may have chosen the words of as one line of what can be printed.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// size writes a number of bytes for people.
func size(n uint64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%dB", n)
	case n < 1<<20:
		return fmt.Sprintf("%.0fKiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1fGiB", float64(n)/(1<<30))
}
