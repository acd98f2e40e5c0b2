//go:build !cgo

package main

import "github.com/spf13/cobra"

// modelsChecks are the commands that run models.
func modelsChecks() []*cobra.Command { return nil }
