//go:build cgo

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sightline/pipeline"
	"sightline/sources/onvif"
)

// find asks the network for cameras.
func (o probing) find(c *cobra.Command) error {
	s := onvif.Search{Target: o.target, Wait: o.length, Username: o.username}
	if o.passwordFile != "" {
		if o.username == "" {
			return badConfig{errors.New("sightline probe: there is a password but no user: give --username too")}
		}
		content, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return badConfig{fmt.Errorf("sightline probe: password file: %w", err)}
		}
		s.Password = pipeline.NewSecret(strings.TrimRight(string(content), "\r\n"))
	}
	errs := c.ErrOrStderr()
	if overwritable(errs) {
		fmt.Fprint(errs, "asking the network for cameras …")
	}
	devices, err := s.Run(c.Context())
	if overwritable(errs) {
		fmt.Fprint(errs, "\r\x1b[K")
	}
	switch {
	case err != nil:
		return fmt.Errorf("probe --discover: %w\nwhere the address of a camera is known, sightline probe URL works without", err)
	case o.asJSON:
		return writeJSON(c.OutOrStdout(), devices)
	}
	return writeCameras(c.OutOrStdout(), devices, o)
}

// writeCameras lists cameras for people.
func writeCameras(out io.Writer, devices []onvif.Device, o probing) error {
	if len(devices) == 0 {
		_, err := fmt.Fprintln(out, "no camera answered. Those without ONVIF do not, nor those in other networks, nor those whose ONVIF is\n"+
			"switched off; sightline probe URL works with them all. --for 10s waits longer.")
		return err
	}
	for i := range devices {
		d := &devices[i]
		fmt.Fprintf(out, "%s  %s%s\n", d.Host, d.Title(), about(d))
		if d.Problem != "" {
			fmt.Fprintf(out, "  %s\n", d.Problem)
		}
		if err := writeProfiles(out, d.Profiles); err != nil {
			return err
		}
		if best := firstStream(d.Profiles); best != "" {
			fmt.Fprintf(out, "  look at it:  sightline probe %s%s\n", quoted(best), o.again())
		}
		fmt.Fprintln(out)
	}
	return nil
}

// about is what else is known of a camera.
func about(d *onvif.Device) string {
	var parts []string
	if d.Location != "" {
		parts = append(parts, "at "+d.Location)
	}
	if d.Firmware != "" {
		parts = append(parts, "firmware "+d.Firmware)
	}
	if off := d.ClockOffset; off != nil && (*off > 5 || *off < -5) {
		parts = append(parts, fmt.Sprintf("clock off by %.0f s", *off))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func writeProfiles(out io.Writer, profiles []onvif.Profile) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range profiles {
		size := ""
		if p.Width > 0 && p.Height > 0 {
			size = fmt.Sprintf("%d×%d", p.Width, p.Height)
		}
		rate := ""
		if p.FPS > 0 {
			rate = fmt.Sprintf("%.3g fps", p.FPS)
		}
		address := p.URI + p.Problem
		if p.Elsewhere {
			address += "  (names another host than the camera: be sure before you connect)"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", cmp.Or(p.Name, p.Token), p.Codec, size, rate, address)
	}
	return w.Flush()
}

// firstStream is the address to look at first; one of another host is not proposed.
func firstStream(profiles []onvif.Profile) string {
	for _, p := range profiles {
		if p.URI != "" && !p.Elsewhere {
			return p.URI
		}
	}
	return ""
}

// again is how user and password are given once more.
func (o probing) again() string {
	switch {
	case o.username != "" && o.passwordFile != "":
		return " --username " + quoted(o.username) + " --password-file " + quoted(o.passwordFile)
	case o.username != "":
		return " --username " + quoted(o.username)
	}
	return ""
}

// quoted writes a word for a shell: what a camera says must not become a command.
func quoted(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
