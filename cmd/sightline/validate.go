package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sightline/configs"
)

func newValidate() *cobra.Command {
	var elsewhere bool
	c := &cobra.Command{
		Use: "validate FILE...", Short: "Say everything that is wrong with pipeline files",
		Long: `Check pipeline files without running them. Every problem is printed as
file:line:column: key: problem (suggestion), all at once. Nothing is connected to.`,
		Example: "  sightline validate front.yaml\n  sightline validate --elsewhere configs/*.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var problems []error
			for _, path := range args {
				p, err := configs.Load(path, configs.Options{BuiltIn: builtInModels(), Elsewhere: elsewhere})
				if err != nil {
					problems = append(problems, err)
					continue
				}
				warn(c.ErrOrStderr(), p.Warnings)
				fmt.Fprintf(c.OutOrStdout(), "%s: well (%d sources, %d models, %d sinks)\n", path, len(p.Sources), len(p.Models), len(p.Sinks))
			}
			if len(problems) > 0 {
				return badConfig{errors.Join(problems...)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&elsewhere, "elsewhere", false, "the file is for another machine: variables and files that it names need not be here")
	return c
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
