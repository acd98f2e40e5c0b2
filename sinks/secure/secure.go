// Package secure is what sinks have in common that speak TLS and have secrets: both are read from files
// that the configuration names, anew each time, so that renewed ones count from the next connection on.
package secure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"sightline/pipeline"
)

// Files are the certificates of one sink, by the names that the configuration gives them; empty: none.
type Files struct {
	CA, Cert, Key string
	Read          func(name string) ([]byte, error)
}

// Check says what is wrong with the names alone.
func (f Files) Check() error {
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("cert_file and key_file go together")
	}
	return nil
}

// Config returns the TLS configuration of a client that connects to host. Authorities are the system's
// unless CA is given.
func (f Files) Config(host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if f.CA != "" {
		pem, err := f.Read(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca_file %q: it holds no certificate in PEM form", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := f.pair()
		if err != nil {
			return nil, fmt.Errorf("read cert_file %q and key_file %q: %w", f.Cert, f.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func (f Files) pair() (tls.Certificate, error) {
	cert, err := f.Read(f.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := f.Read(f.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// Secret returns a secret: what is in the file, or value when no file is named. key is what the
// configuration calls the file.
func Secret(read func(name string) ([]byte, error), value pipeline.Secret, key, file string) (pipeline.Secret, error) {
	if file == "" {
		return value, nil
	}
	text, err := read(file)
	if err != nil {
		return pipeline.Secret{}, fmt.Errorf("read %s: %w", key, err)
	}
	return pipeline.NewSecret(strings.TrimRight(string(text), "\r\n")), nil
}
