package rtsp

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"sightline/pipeline"
	"sightline/sources"
)

// target is what a configuration says about whom to reach and how.
type target struct {
	url         *base.URL   // carries the credentials: only for the client, never for a text
	name        string      // the address for texts, without credentials
	tls         *tls.Config // nil without TLS
	credentials bool        // whether there is a user to show to the camera
}

// readFile reads a file that a configuration names.
type readFile func(name string) ([]byte, error)

// aim reads a configuration. Its errors are permanent.
func aim(config *sources.RTSP, read readFile) (*target, error) {
	t, err := aimAt(config, read)
	if err != nil {
		return nil, pipeline.Permanentf("read address of the camera: %w", err)
	}
	return t, nil
}

func aimAt(config *sources.RTSP, read readFile) (*target, error) {
	u, err := parseURL(config.URL)
	if err != nil {
		return nil, errors.New(config.Hide(err.Error()))
	}
	if config.Transport == TransportTLS {
		u.Scheme = "rtsps"
	}
	name := config.Name()
	if u.Scheme == "rtsps" {
		name = strings.Replace(name, "rtsp://", "rtsps://", 1)
	}
	t := &target{url: u, name: name}
	if u.Scheme == "rtsps" {
		if config.Transport == TransportUDP {
			return nil, fmt.Errorf("transport udp would leave the pictures of %s unencrypted: use tls, or rtsp:// in the url", t.name)
		}
		if t.tls, err = tlsConfig(config, read); err != nil {
			return nil, err
		}
	}
	password, err := readPassword(config, read)
	if err != nil {
		return nil, err
	}
	if config.Username == "" && !password.Empty() {
		return nil, errors.New("there is a password but no username")
	}
	if config.Username != "" {
		u.User = url.UserPassword(config.Username, password.Reveal())
		t.credentials = true
	}
	return t, nil
}

// parseURL never shows what may be a password: what stands before an @ is left out of its errors, and
// a text that does not parse is not shown at all when there is one.
func parseURL(text string) (*base.URL, error) {
	u, err := base.ParseURL(text)
	switch {
	case err != nil && strings.Contains(text, "@"):
		return nil, errors.New("the url is not valid; user and password do not belong into it but into username and password_file")
	case err != nil:
		return nil, fmt.Errorf("%q is not an address such as rtsp://192.0.2.10:554/stream1: %s", pipeline.RedactText(text), pipeline.RedactText(err.Error()))
	case u.User != nil:
		return nil, fmt.Errorf("%q has a user in it: put user and password into username and password_file", pipeline.RedactText(text))
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q has no host (write it like rtsp://192.0.2.10:554/stream1)", pipeline.RedactText(text))
	}
	return u, nil
}

func readPassword(config *sources.RTSP, read readFile) (pipeline.Secret, error) {
	if !config.Password.Empty() || config.PasswordFile == "" {
		return config.Password, nil
	}
	content, err := read(config.PasswordFile)
	if err != nil {
		return pipeline.Secret{}, fmt.Errorf("read password: %w", err)
	}
	return pipeline.NewSecret(string(bytes.TrimRight(content, "\r\n"))), nil
}

// tlsConfig says whose certificate is accepted: signed by an authority of the system or of ca_file
// for the name in the address, or the very one of the fingerprint.
func tlsConfig(config *sources.RTSP, read readFile) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if config.CAFile != "" {
		content, err := read(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("read ca_file: %q holds no certificate in PEM form", config.CAFile)
		}
	}
	if config.Fingerprint != "" {
		want, err := parseFingerprint(config.Fingerprint)
		if err != nil {
			return nil, err
		}
		out.InsecureSkipVerify = true // the chain is not looked at: the certificate itself is compared
		out.VerifyConnection = func(s tls.ConnectionState) error { return checkFingerprint(s, want) }
	}
	return out, nil
}

func parseFingerprint(text string) ([]byte, error) {
	sum, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(text))
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("fingerprint %q is not a SHA-256 in hexadecimal (64 digits)", text)
	}
	return sum, nil
}

// errFingerprint is returned for a certificate that is not the pinned one.
var errFingerprint = errors.New("the certificate is not the one that the configuration pins")

func checkFingerprint(s tls.ConnectionState, want []byte) error {
	if len(s.PeerCertificates) == 0 {
		return errFingerprint
	}
	sum := sha256.Sum256(s.PeerCertificates[0].Raw)
	if subtle.ConstantTimeCompare(sum[:], want) != 1 {
		return fmt.Errorf("%w: its SHA-256 is %x", errFingerprint, sum)
	}
	return nil
}
