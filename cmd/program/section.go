package program

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"sightline/models"
	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sources"
)

// The names of secrets that stand in the section itself.
const (
	inlinePassword = "password"
	inlineToken    = "token"
	inlineKey      = "hmac-key"
)

// secretLimit is the most bytes of a file that a section names.
const secretLimit = 1 << 20

// Encoder makes the sections that stages in boxes are told.
type Encoder struct {
	// ReadFile reads what sections name; nil reads files of this machine, of at most 1 MiB.
	ReadFile func(name string) ([]byte, error)
}

// Source returns the section of a capture stage as its program reads it, with what the files
// that it names hold. The section itself holds no secret.
func (e Encoder) Source(c sources.Config) (json.RawMessage, map[string]pipeline.Secret, error) {
	s := secrets{read: e.ReadFile}
	if c.RTSP != nil {
		r := *c.RTSP
		s.secret(inlinePassword, &r.Password, &r.PasswordFile)
		s.file(r.CAFile)
		c.RTSP = &r
	}
	return s.encode(c)
}

// Model returns the section of a classify stage. Paths in it mean nothing to the stage: its
// model is in its closure.
func (e Encoder) Model(c models.Config) (json.RawMessage, map[string]pipeline.Secret, error) {
	s := secrets{read: e.ReadFile}
	return s.encode(c)
}

// Sink returns the section of a publish stage, as Source does.
func (e Encoder) Sink(c sinks.Config) (json.RawMessage, map[string]pipeline.Secret, error) {
	s := secrets{read: e.ReadFile}
	if c.MQTT != nil {
		m := *c.MQTT
		s.secret(inlinePassword, &m.Password, &m.PasswordFile)
		s.file(m.CAFile)
		s.file(m.CertFile)
		s.file(m.KeyFile)
		c.MQTT = &m
	}
	if c.HTTP != nil {
		h := *c.HTTP
		s.secret(inlineToken, &h.Token, &h.TokenFile)
		s.secret(inlineKey, &h.HMAC.Secret, &h.HMAC.SecretFile)
		s.file(h.CAFile)
		s.file(h.CertFile)
		s.file(h.KeyFile)
		c.HTTP = &h
	}
	return s.encode(c)
}

// secrets collects what a section refers to.
type secrets struct {
	read   func(name string) ([]byte, error)
	byName map[string]pipeline.Secret
	err    error
}

func (s *secrets) add(name string, value pipeline.Secret) {
	if s.byName == nil {
		s.byName = map[string]pipeline.Secret{}
	}
	s.byName[name] = value
}

// secret moves a secret out of the section, under a name if it stands there itself.
func (s *secrets) secret(name string, value *pipeline.Secret, file *string) {
	if !value.Empty() {
		s.add(name, *value)
		*value, *file = pipeline.Secret{}, name
		return
	}
	s.file(*file)
}

func (s *secrets) file(name string) {
	if name == "" || s.err != nil {
		return
	}
	read := s.read
	if read == nil {
		read = ReadFile
	}
	data, err := read(name)
	if err != nil {
		s.err = fmt.Errorf("read what the section names: %w", err)
		return
	}
	s.add(name, pipeline.NewSecret(string(data)))
}

// ReadFile reads a file that a section names: a regular one of at most 1 MiB.
func ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > secretLimit {
		return nil, fmt.Errorf("%q is not a file of at most %d bytes", name, secretLimit)
	}
	return os.ReadFile(name)
}

func (s *secrets) encode(section any) (json.RawMessage, map[string]pipeline.Secret, error) {
	if s.err != nil {
		return nil, nil, s.err
	}
	text, err := json.Marshal(section)
	return text, s.byName, err
}

// DecodeSection reads a section into a *sources.Config, *models.Config or *sinks.Config.
func DecodeSection(section json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(section))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the stage's section: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("read the stage's section: something comes after it")
	}
	return nil
}

// Reader returns what reads the files that a section names: from what came with it.
func Reader(secrets map[string]pipeline.Secret) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		s, ok := secrets[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return []byte(s.Reveal()), nil
	}
}
