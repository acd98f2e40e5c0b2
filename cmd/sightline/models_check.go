//go:build cgo

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"sightline/configs/strict"
	"sightline/models"
	"sightline/models/check"
	"sightline/models/onnx"
	"sightline/sources/photo"
)

// modelsChecks are the commands that run models.
func modelsChecks() []*cobra.Command { return []*cobra.Command{newModelsCheck()} }

// modelCheck is the command line of `sightline models check`.
type modelCheck struct {
	expect         []string
	card, provider string
	gpu, top       int
	asJSON         bool
}

func newModelsCheck() *cobra.Command {
	var o modelCheck
	c := &cobra.Command{
		Use: "check FILE [PICTURE…]", Short: "Show what a model says of pictures, and what is likely wrong with its card",
		Long: `Run a model as a pipeline does, on JPEG and PNG pictures, and show the best classes. FILE is a .onnx
file, or the name of a model of the store.

What is expected is said by --expect, once for all pictures or once for each, or by a golden file beside
the card, NAME.golden.yaml; without PICTURE those of the golden file are looked at. When something is not
as expected, the mistakes that are usual in cards are tried, and the likely one is named: channels
swapped, mean missing, wrong scale, softmax twice, labels off by one, the wrong layout.

Exit status 1 when something is not as expected.`,
		Example: "  sightline models check mine.onnx cat.jpg --expect \"Egyptian cat\"\n  sightline models check mobilenetv2-12 *.jpg",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return checkModel(c, args[0], args[1:], o) },
	}
	c.Flags().StringArrayVar(&o.expect, "expect", nil, "label that must come first; once for all pictures, or once for each in their order")
	c.Flags().StringVar(&o.card, "card", "", "the model's card (default: the .yaml beside it)")
	c.Flags().StringVar(&o.provider, "provider", "cpu", "execution provider: auto, cpu, cuda or tensorrt")
	c.Flags().IntVar(&o.gpu, "gpu", 0, "device number for cuda and tensorrt")
	c.Flags().IntVar(&o.top, "top", 5, "classes to show of each picture")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print JSON")
	return c
}

func checkModel(c *cobra.Command, model string, files []string, o modelCheck) (err error) {
	file, err := modelFile(c, model)
	if err != nil {
		return err
	}
	fit, err := file.Fit(nil, o.card)
	if err != nil {
		return cardError(fmt.Errorf("model %q: %w", file.Path, err))
	}
	golden, err := check.ReadGolden(file.Path)
	if err != nil {
		return cardError(err)
	}
	list, err := expectedOf(file.Path, files, o.expect, golden)
	if err != nil {
		return err
	}
	pictures, release, err := openPictures(list)
	defer release()
	if err != nil {
		return err
	}
	r, err := onnx.Start(libraryOf(c))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return o.run(c, r, file, fit, pictures)
}

func (o modelCheck) run(c *cobra.Command, r *onnx.Runtime, file models.File, fit *models.Fit, pictures []check.Picture) error {
	checker := check.Checker{
		Runtime: r, File: file, Card: fit.Card, Provider: onnx.Provider(o.provider), GPU: o.gpu, Top: max(o.top, 1), CacheDir: cacheFolder(),
	}
	errs := c.ErrOrStderr()
	if overwritable(errs) {
		checker.Progress = func(done, total int, what string) {
			fmt.Fprintf(errs, "\r\x1b[Ktrying what may be meant, %d of %d: %s", done+1, total, what)
			if done+1 == total {
				fmt.Fprint(errs, "\r\x1b[K")
			}
		}
	}
	report, err := checker.Run(c.Context(), pictures)
	if err != nil {
		return cardError(fmt.Errorf("check %q: %w", file.Path, err))
	}
	if o.asJSON {
		err = writeJSON(c.OutOrStdout(), report)
	} else {
		err = report.WriteText(c.OutOrStdout())
	}
	if err == nil && !report.OK() {
		err = errors.New("check: not all is as it should be")
	}
	return err
}

// cardError marks what is wrong with a card as a bad configuration.
func cardError(err error) error {
	if _, ok := errors.AsType[strict.Problems](err); ok {
		return badConfig{err}
	}
	if _, ok := errors.AsType[*models.NoCardError](err); ok {
		return badConfig{err}
	}
	return err
}

// awaitedPicture is a picture file with what is expected of it.
type awaitedPicture struct {
	file   string
	expect *check.Expected
}

// expectedOf puts files and expectations together.
func expectedOf(model string, files, labels []string, golden *check.Golden) ([]awaitedPicture, error) {
	if len(labels) > 1 && len(labels) != len(files) {
		return nil, badConfig{fmt.Errorf("check: %d labels are expected of %d pictures: give --expect once, or once for each", len(labels), len(files))}
	}
	if len(files) == 0 && golden == nil {
		return nil, badConfig{fmt.Errorf("check: name a picture, or write %q", check.GoldenPath(model))}
	}
	var list []awaitedPicture
	if len(files) == 0 {
		for _, name := range golden.Names() {
			e := golden.Pictures[name]
			list = append(list, awaitedPicture{filepath.Join(filepath.Dir(model), e.File), &e})
		}
		return list, nil
	}
	for i, file := range files {
		a := awaitedPicture{file: file}
		if len(labels) > 0 {
			a.expect = &check.Expected{Labels: labels[min(i, len(labels)-1):][:1]}
		} else if golden != nil {
			if e, ok := golden.For(file); ok {
				a.expect = &e
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// openPictures reads all of them before the model is loaded. The function that it returns releases them, also after an
// error.
func openPictures(list []awaitedPicture) (pictures []check.Picture, release func(), err error) {
	var open []*photo.Photo
	release = func() {
		for _, p := range slices.Backward(open) {
			p.Close()
		}
	}
	for _, a := range list {
		p, err := photo.Open(a.file)
		if err != nil {
			return nil, release, err
		}
		open = append(open, p)
		pictures = append(pictures, check.Picture{Name: a.file, Frame: p.Frame, Expected: a.expect})
	}
	return pictures, release, nil
}
