package models

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CardFor finds what describes a model: the card at path, when it is given, else the .yaml beside the
// model's file, else the file's own metadata. A model without any is a *NoCardError.
func CardFor(file File, path string, d *Description) (*Card, error) {
	if path != "" {
		return ReadCard(path)
	}
	beside := CardPath(file.Path)
	if _, err := os.Lstat(beside); err == nil {
		return ReadCard(beside)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	card, found, err := CardFromMetadata(file.Path, d.Properties)
	if found || err != nil {
		return card, err
	}
	skeleton, err := Skeleton(file.Name(), d.Signature)
	if err != nil {
		return nil, err
	}
	return nil, &NoCardError{Card: beside, Skeleton: skeleton}
}

// Check reads a model and its card and puts them together, all but running it; card is as in
// CardFor. It needs no ONNX Runtime.
func Check(model, card string) (*Fit, File, error) {
	file, err := ReadFile(model)
	if err != nil {
		return nil, File{}, err
	}
	fit, err := file.Fit(nil, card)
	if err != nil {
		return nil, file, fmt.Errorf("model %q: %w", model, err)
	}
	return fit, file, nil
}

// Fit puts the file and its card together; when card is nil it is found as in CardFor.
func (f File) Fit(card *Card, path string) (*Fit, error) {
	d, err := Describe(f.Bytes)
	if err != nil {
		return nil, err
	}
	if card == nil {
		if card, err = CardFor(f, path, d); err != nil {
			return nil, err
		}
	}
	if err := f.Verify(card); err != nil {
		return nil, err
	}
	return card.Fit(d.Signature)
}
