//go:build cgo

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func (o probing) find(*cobra.Command) error { return errors.New("probe: not yet") }
