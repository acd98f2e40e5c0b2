//go:build cgo

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/join"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/sources"
	camera "sightline/sources/probe"
	"sightline/sources/rtsp"
)

// probing is the command line of `sightline probe`.
type probing struct {
	length       time.Duration
	transport    string
	username     string
	passwordFile string
	caFile       string
	fingerprint  string
	asJSON       bool
	discover     bool
	target       string
}

func newProbe() *cobra.Command {
	var o probing
	c := &cobra.Command{
		Use: "probe URL | probe --discover", Short: "Look at a camera: what it sends, what will bite, and what to write for it",
		Long: `Connect to a camera as a pipeline would, look at its stream for some seconds, and say what it offers,
what it sends, and what of that will bite: long distances between keyframes, no RTCP sender reports,
pictures that only software decodes. At the end stands what to write into the pipeline file.

--discover asks the network for ONVIF cameras (WS-Discovery) instead, and each of them for its profiles
and their addresses; with --username and --password-file those of cameras that want a login too.

A password in the URL is taken and never shown, but it stays in the history of the shell: better is
--username with --password-file.

Exit status 1 when no picture can be had, with the reason.`,
		Example: "  sightline probe rtsp://192.0.2.10:554/stream1 --username viewer --password-file gate.secret\n  sightline probe --discover",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case o.discover && len(args) > 0:
				return badConfig{errors.New("sightline probe: --discover looks for all cameras: leave out the URL")}
			case o.discover:
				return o.find(c)
			case len(args) == 0:
				return badConfig{errors.New("sightline probe: name the URL of a camera, or --discover")}
			}
			return o.look(c, args[0])
		},
	}
	f := c.Flags()
	f.DurationVar(&o.length, "for", 0, "how long to look, from the first picture on (default 5s), or to wait for answers (default 3s)")
	f.StringVar(&o.transport, "transport", rtsp.TransportAuto, "auto, tcp, udp or tls")
	f.StringVar(&o.username, "username", "", "user of the camera")
	f.StringVar(&o.passwordFile, "password-file", "", "file that holds the password")
	f.StringVar(&o.caFile, "ca-file", "", "PEM file of the authorities that may sign the camera's certificate")
	f.StringVar(&o.fingerprint, "fingerprint", "", "SHA-256 of the camera's certificate")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVar(&o.discover, "discover", false, "look for ONVIF cameras in the network")
	f.StringVar(&o.target, "target", "", "with --discover: ask this host:port instead of the whole network")
	return c
}

// config makes the configuration of the source; inURL says that the address held user and password.
func (o probing) config(text string) (c sources.RTSP, inURL bool, err error) {
	address, user, password := camera.Split(text)
	inURL = address != text
	c = sources.RTSP{URL: address, Transport: o.transport, CAFile: o.caFile, Fingerprint: o.fingerprint, Username: user, Password: password}
	if err := camera.CheckAddress(address); err != nil {
		return c, inURL, err
	}
	ways := []string{rtsp.TransportAuto, rtsp.TransportTCP, rtsp.TransportUDP, rtsp.TransportTLS}
	tls := strings.HasPrefix(address, "rtsps:")
	switch {
	case !slices.Contains(ways, o.transport):
		return c, inURL, fmt.Errorf("there is no transport %q (there are %s)", o.transport, strings.Join(ways, ", "))
	case tls && (o.transport == rtsp.TransportTCP || o.transport == rtsp.TransportUDP):
		return c, inURL, fmt.Errorf("transport %s does not fit an rtsps:// address: leave it out", o.transport)
	}
	return c, inURL, o.login(&c)
}

// login adds what the flags say about user and password.
func (o probing) login(c *sources.RTSP) error {
	if o.username != "" {
		c.Username, c.Password = o.username, pipeline.Secret{}
	}
	if o.passwordFile != "" {
		if c.Username == "" {
			return errors.New("there is a password but no user: give --username too")
		}
		path, err := filepath.Abs(o.passwordFile)
		if err != nil {
			return fmt.Errorf("password file: %w", err)
		}
		if _, err := os.ReadFile(path); err != nil {
			return fmt.Errorf("password file: %w", err)
		}
		c.Password, c.PasswordFile = pipeline.Secret{}, path
	}
	return nil
}

func (o probing) look(c *cobra.Command, text string) error {
	config, inURL, err := o.config(text)
	if err != nil {
		return badConfig{fmt.Errorf("sightline probe: %w", err)}
	}
	endpoints, err := join.SourceEndpoints(sources.Config{RTSP: &config})
	if err != nil {
		return badConfig{fmt.Errorf("sightline probe: %w", err)}
	}
	errs := c.ErrOrStderr()
	if inURL {
		fmt.Fprintln(errs, "the password in the URL is now in your shell's history; --username and --password-file keep it out")
	}
	p := camera.Probe{Config: config, Length: o.length}
	if overwritable(errs) {
		p.Progress = func(at camera.Progress) { showProbe(errs, pipeline.RedactText(config.URL), at) }
	}
	env := pipeline.Env{
		Device: "probe", Stage: camera.SnippetName, Log: slog.New(slog.DiscardHandler), Stats: pipeline.NewStats(),
		Network: &grant.Network{Endpoints: endpoints}, Report: func(pipeline.Status) {},
	}
	report, err := p.Run(c.Context(), env)
	if p.Progress != nil {
		fmt.Fprint(errs, "\r\x1b[K")
	}
	switch {
	case c.Context().Err() != nil && report == nil:
		return errors.New("probe: interrupted before a picture came")
	case err != nil:
		return fmt.Errorf("probe: %w", err)
	}
	if o.asJSON {
		err = writeJSON(c.OutOrStdout(), report)
	} else {
		err = report.WriteText(c.OutOrStdout())
	}
	if err == nil && report.Undecoded != "" {
		err = fmt.Errorf("probe: no picture could be decoded: %s", report.Undecoded)
	}
	return err
}

// showProbe overwrites the line that says how far a look is.
func showProbe(out io.Writer, address string, p camera.Progress) {
	if !p.Began {
		fmt.Fprintf(out, "\r\x1b[Kconnecting to %s", address)
		return
	}
	done := int(barWidth * p.Measured / max(p.Length, 1))
	bar := strings.Repeat("█", done) + strings.Repeat("░", barWidth-done)
	fmt.Fprintf(out, "\r\x1b[K%s %.1f of %.0f s  %d pictures, %.1f MB", bar, p.Measured.Seconds(), p.Length.Seconds(), p.Pictures, float64(p.Bytes)/1e6)
}
