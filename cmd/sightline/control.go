package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sightline/configs"
	"sightline/runtime/supervisor"
	"sightline/runtime/supervisor/audit"
	"sightline/runtime/supervisor/control"
)

// listen answers operators on the control socket until the returned closer is closed.
func (s *station) listen() (io.Closer, error) {
	listener, err := control.Listen(s.dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := &control.Server{Supervisor: s.super, Version: version, Apply: s.applyText, Notes: s.notes}
	go func() { served <- server.Serve(ctx, listener) }()
	return closer(func() error {
		cancel()
		return <-served
	}), nil
}

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }

// applyText applies a document that an operator sent.
func (s *station) applyText(ctx context.Context, text json.RawMessage, force bool) (supervisor.Report, error) {
	d, err := readDocument(text)
	if err != nil {
		return supervisor.Report{}, err
	}
	d.Closures = nil // made here, by what is here
	return s.apply(ctx, d, force)
}

// newControl are the commands that talk with a running supervisor.
func newControl() []*cobra.Command {
	return []*cobra.Command{
		newUp(), newDown(), newPs(), newLogs(),
		newAsk("restart", "Stop a stage and start it again, at once", (*control.Client).Restart),
		newAsk("stop", "Stop a stage; it stays stopped, over restarts too, until start", (*control.Client).StopStage),
		newAsk("start", "Start a stage that was stopped", (*control.Client).StartStage),
		newAudit(),
	}
}

// talk calls do with a client of the supervisor that the command line means.
func talk(c *cobra.Command, do func(*control.Client) error) error {
	dir, err := stateOf(c)
	if err != nil {
		return err
	}
	client := control.Dial(dir)
	defer client.Close()
	err = do(client)
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w (start one with sightline run FILE, or name another with --state)", err)
	}
	return err
}

func newUp() *cobra.Command {
	force := false
	c := &cobra.Command{
		Use: "up FILE", Short: "Have the running supervisor run this pipeline file",
		Long: `Check FILE and hand it to the running supervisor. What did not change goes on untouched. A stage
that changed is replaced, watched for a while, and put back by itself when the new one does not hold;
that one is then refused until --force. Exit status 1 when a stage was put back or refused.`,
		Example: "  sightline up front.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, p, err := newDocument(c, args[0])
			if err != nil {
				return err
			}
			warn(c.ErrOrStderr(), p.Warnings)
			text, err := json.Marshal(d)
			if err != nil {
				return fmt.Errorf("send %s: %w", args[0], err)
			}
			return talk(c, func(client *control.Client) error {
				report, err := client.Apply(c.Context(), text, force)
				if err != nil {
					return err
				}
				return showReport(c.OutOrStdout(), report)
			})
		},
	}
	configs.AddFlags(c.Flags())
	addState(c)
	c.Flags().BoolVar(&force, "force", false, "try again what did not hold before, and make anew what was changed in the store")
	return c
}

// showReport prints what was done, and returns an error when a stage is not as the file says.
func showReport(out io.Writer, report supervisor.Report) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	var not []string
	for _, o := range report.Stages {
		did := string(o.Action)
		if o.Action == supervisor.Started && o.Box == "" {
			did = "waits" // for the next attempt
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", o.Stage, did, o.Box, o.Why)
		if o.Action == supervisor.PutBack || o.Action == supervisor.Refused {
			not = append(not, o.Stage)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(not) > 0 {
		return fmt.Errorf("not as the file says: %s", strings.Join(not, ", "))
	}
	return nil
}

func newDown() *cobra.Command {
	c := &cobra.Command{
		Use: "down", Short: "Stop all stages, from camera to sink, and the supervisor",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return talk(c, func(client *control.Client) error { return client.Down(c.Context()) })
		},
	}
	addState(c)
	return c
}

func newAsk(verb, short string, ask func(*control.Client, context.Context, string) error) *cobra.Command {
	c := &cobra.Command{
		Use: verb + " STAGE", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return talk(c, func(client *control.Client) error { return ask(client, c.Context(), args[0]) })
		},
	}
	addState(c)
	return c
}

func newLogs() *cobra.Command {
	var follow bool
	var lines int
	c := &cobra.Command{
		Use: "logs STAGE", Short: "Show what a stage printed and said",
		Example: "  sightline logs -f gate", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return talk(c, func(client *control.Client) error {
				return client.Logs(c.Context(), args[0], lines, follow, func(line string) error {
					_, err := fmt.Fprintln(c.OutOrStdout(), line)
					return err
				})
			})
		},
	}
	addState(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines until Ctrl-C")
	c.Flags().IntVarP(&lines, "lines", "n", 100, "how many of the last lines to begin with")
	return c
}

func newAudit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Read the audit log: plans, starts, stops, refusals, grants"}
	verify := &cobra.Command{
		Use: "verify", Short: "Check that no record was changed or taken out",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			summary, err := readAudit(c, nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "the chain holds: records %d to %d in %d files, the last with hash %s\n",
				summary.First, summary.Last, summary.Files, summary.Hash)
			if err == nil && summary.Torn+summary.Tail > 0 {
				_, err = fmt.Fprintf(c.OutOrStdout(), "a power cut tore %d records; %d bytes of one are at the end\n", summary.Torn, summary.Tail)
			}
			return err
		},
	}
	show := &cobra.Command{
		Use: "show", Short: "Print the records, a line of JSON each",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			encoder := json.NewEncoder(c.OutOrStdout())
			var failed error
			_, err := readAudit(c, func(r audit.Record) { failed = errors.Join(failed, encoder.Encode(r)) })
			return errors.Join(err, failed)
		},
	}
	addState(verify)
	addState(show)
	c.AddCommand(verify, show)
	return c
}

func readAudit(c *cobra.Command, visit func(audit.Record)) (audit.Summary, error) {
	dir, err := stateOf(c)
	if err != nil {
		return audit.Summary{}, err
	}
	if _, err := os.Stat(filepath.Join(dir, "audit")); err != nil {
		return audit.Summary{}, fmt.Errorf("no audit log in state folder %q: %w", dir, err)
	}
	return audit.Verify(filepath.Join(dir, "audit"), visit)
}
