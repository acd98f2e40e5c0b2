package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sightline/configs"
)

func newValidate() *cobra.Command {
	var elsewhere, migrate bool
	c := &cobra.Command{
		Use: "validate FILE...", Short: "Say everything that is wrong with pipeline files",
		Long: `Check pipeline files without running them. Every problem is printed as
file:line:column: key: problem (suggestion), all at once. Nothing is connected to.`,
		Example: "  sightline validate front.yaml\n  sightline validate --elsewhere configs/*.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var problems []error
			for _, path := range args {
				o := options(storeFolder(c))
				o.Elsewhere = elsewhere
				p, err := configs.Load(path, o)
				if err != nil {
					problems = append(problems, err)
					continue
				}
				warn(c.ErrOrStderr(), p.Warnings)
				if migrate {
					if err := printMigrated(c, path, p); err != nil {
						return err
					}
					continue
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: well (%s, %s, %s)\n", path, count(len(p.Sources), "source"), count(len(p.Models), "model"), count(len(p.Sinks), "sink"))
			}
			if len(problems) > 0 {
				return badConfig{errors.Join(problems...)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&elsewhere, "elsewhere", false, "the file is for another machine: variables and files that it names need not be here")
	c.Flags().BoolVar(&migrate, "migrate", false, "print each file as it is written now; one of an older version is read as well, and never changed")
	return c
}

// printMigrated prints a file that can be used as it is written in this version.
func printMigrated(c *cobra.Command, path string, p *configs.Pipeline) error {
	text := p.Migrated
	if text == "" {
		data, err := configs.Read(path)
		if err != nil {
			return badConfig{err}
		}
		text = string(data)
	}
	_, err := io.WriteString(c.OutOrStdout(), text)
	return err
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of pipeline files, for editors",
		Example: "  sightline schema > pipeline.schema.json",
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(configs.JSONSchema())
			return err
		},
	}
}

// count says how many of a thing there are.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
