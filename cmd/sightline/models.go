package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sightline/models"
	"sightline/models/catalogue"
	"sightline/models/inspect"
)

// modelsVariable names the environment variable with the folder of the model store.
const modelsVariable = "SIGHTLINE_MODELS"

func newModels() *cobra.Command {
	c := &cobra.Command{
		Use: "models", Short: "List, fetch, inspect and check classifiers",
		Long: `A catalogue of well-known classifiers, and the model store: the folder where models lie with their
cards and labels. A card says what a model wants to see and what its numbers mean; check finds out
whether it does.`,
		Example: "  sightline models list\n  sightline models pull mobilenetv2-12\n  sightline models inspect mine.onnx",
	}
	c.PersistentFlags().String("store", "", "folder of the model store (default: $SIGHTLINE_MODELS, else models in the state folder)")
	c.AddCommand(newModelsList(), newModelsPull(), newModelsInspect())
	c.AddCommand(modelsChecks()...)
	c.Args, c.RunE = unknown, func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}

// storeOf returns the model store that a command line means.
func storeOf(c *cobra.Command) (catalogue.Store, error) {
	if dir, err := c.Flags().GetString("store"); err == nil && dir != "" {
		return catalogue.Store{Folder: dir}, nil
	}
	if dir := os.Getenv(modelsVariable); dir != "" {
		return catalogue.Store{Folder: dir}, nil
	}
	state, err := stateOf(c)
	return catalogue.Store{Folder: filepath.Join(state, "models")}, err
}

// modelFile reads a model by its path, or by its name in the store.
func modelFile(c *cobra.Command, word string) (models.File, error) {
	path := word
	if _, err := os.Stat(word); err != nil && catalogue.IsName(word) {
		store, err := storeOf(c)
		if err != nil {
			return models.File{}, err
		}
		if path, err = store.Find(word); err != nil {
			return models.File{}, err
		}
	}
	return models.ReadFile(path)
}

// modelLine is one line of the list.
type modelLine struct {
	Name     string `json:"name"`
	Summary  string `json:"summary,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	Licence  string `json:"licence,omitempty"`
	Accuracy string `json:"accuracy,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
	Address  string `json:"address,omitempty"`
	Store    string `json:"store"` // what of it is in the store
}

func newModelsList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the catalogue, and what the model store has",
		Example: "  sightline models list\n  sightline models list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			store, err := storeOf(c)
			if err != nil {
				return err
			}
			list, err := listModels(store)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), list)
			}
			return writeModels(c.OutOrStdout(), store, list)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func listModels(store catalogue.Store) ([]modelLine, error) {
	var list []modelLine
	states := map[catalogue.Installed]string{catalogue.Present: "there", catalogue.Foreign: "another file of this name"}
	for _, e := range catalogue.All() {
		list = append(list, modelLine{e.Name, e.Summary, e.Size, e.Licence, e.Accuracy, e.SHA256, e.Address(), states[store.State(e)]})
	}
	names, err := store.Names()
	for _, name := range names {
		if !slices.Contains(catalogue.Names(), name) {
			list = append(list, modelLine{Name: name, Store: "your own"})
		}
	}
	return list, err
}

func writeModels(out io.Writer, store catalogue.Store, list []modelLine) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSIZE\tIMAGENET\tLICENCE\tSTORE")
	for _, m := range list {
		size := ""
		if m.Bytes > 0 {
			size = fmt.Sprintf("%.1f MB", float64(m.Bytes)/1e6)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Name, size, m.Accuracy, m.Licence, m.Store)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nstore: %s\n", store.Folder)
	return err
}

func newModelsInspect() *cobra.Command {
	var asJSON bool
	var card string
	c := &cobra.Command{
		Use: "inspect FILE", Short: "Say what goes into a model and what comes out, and what its card says",
		Long: `Read a .onnx file, or a model of the store by its name, without running it. Where a model has no
card that fits, what a card would probably say is shown, with the reason.`,
		Example: "  sightline models inspect mine.onnx\n  sightline models inspect mobilenetv2-12 --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := modelFile(c, args[0])
			if err != nil {
				return err
			}
			m, err := inspect.File(file, card)
			if err != nil {
				return fmt.Errorf("inspect %q: %w", args[0], err)
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), m)
			}
			return m.WriteText(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&card, "card", "", "the model's card (default: the .yaml beside it)")
	return c
}

func writeJSON(out io.Writer, value any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(value)
}
