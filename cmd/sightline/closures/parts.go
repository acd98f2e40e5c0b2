package closures

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sightline/cmd/program"
	"sightline/configs"
	"sightline/models"
	"sightline/models/onnx/library"
	"sightline/runtime/closure"
	"sightline/sinks"
	"sightline/sources"
)

// ProgramsVariable names the environment variable with the folder of the stages' programs.
const ProgramsVariable = "SIGHTLINE_STAGES"

// Where a classify stage finds its model.
const (
	ModelPath = program.ModelPath
	CardPath  = program.CardPath
)

// MissingProgramError says where the program of a kind of stages was looked for.
type MissingProgramError struct {
	Program string
	Looked  []string
}

// Error lists the places, and says how to get the program.
func (e *MissingProgramError) Error() string {
	return fmt.Sprintf("the program %s is not there; looked in %s; build it with `make build`, name its folder with --stages or %s, or run the stage inline",
		e.Program, strings.Join(e.Looked, ", "), ProgramsVariable)
}

// Program finds the program of a kind of stages; *MissingProgramError when it is not there.
func (b Builder) Program(kind string) (string, error) {
	name := "sightline-" + kind
	missing := &MissingProgramError{Program: name}
	for _, folder := range b.folders() {
		at := filepath.Join(folder, name)
		info, err := os.Stat(at)
		switch {
		case err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0:
			return at, nil
		case err == nil:
			return "", fmt.Errorf("%q is no program", at)
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("look for the program of a %s stage: %w", kind, err)
		}
		missing.Looked = append(missing.Looked, folder)
	}
	return "", missing
}

func (b Builder) folders() []string {
	if named := cmp.Or(b.Programs, os.Getenv(ProgramsVariable)); named != "" {
		return []string{named}
	}
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	folder := filepath.Dir(self)
	return []string{folder, filepath.Join(filepath.Dir(folder), "lib", "sightline")}
}

func (b Builder) publish(c sinks.Config, spec *closure.Spec) error {
	if c.MQTT == nil || scheme(c.MQTT.URL) != "mqtts" || c.MQTT.CAFile != "" {
		return nil
	}
	return b.certificates(spec, "ca_file in mqtt")
}

func (b Builder) capture(c sources.Config, s *Stage, spec *closure.Spec) error {
	if err := b.decoder(c.Decoder, s, spec); err != nil {
		return err
	}
	if c.RTSP == nil || scheme(c.RTSP.URL) != "rtsps" || c.RTSP.CAFile != "" || c.RTSP.Fingerprint != "" {
		return nil
	}
	return b.certificates(spec, "ca_file or fingerprint in rtsp")
}

func scheme(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "" // was checked
	}
	return u.Scheme
}

// certificates adds the system's authorities, from where crypto/x509 would take them.
func (b Builder) certificates(spec *closure.Spec, instead string) error {
	places := b.Authorities
	if places == nil {
		places = []string{
			"/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, Arch
			"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
			"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
			"/etc/ssl/ca-bundle.pem",                            // SUSE
			"/etc/ssl/cert.pem",                                 // Alpine
		}
		if named := os.Getenv("SSL_CERT_FILE"); named != "" {
			places = []string{named}
		}
	}
	for _, at := range places {
		if _, err := os.Stat(at); err == nil {
			spec.Certificates = at
			return nil
		}
	}
	return fmt.Errorf("no certificates of authorities for TLS: looked for %s (install ca-certificates, or write %s)", strings.Join(places, ", "), instead)
}

func (b Builder) classify(c models.Config, s *Stage, spec *closure.Spec) error {
	if err := b.inference(c, s, spec); err != nil {
		return err
	}
	if slices.Contains(b.BuiltIn, c.Model) {
		return nil
	}
	return model(c, ModelPath, spec)
}

// inference adds ONNX Runtime, and the providers that the stage asks for.
func (b Builder) inference(c models.Config, s *Stage, spec *closure.Spec) error {
	runtime, _, err := library.Find(b.Library)
	if err != nil {
		return err
	}
	base := []closure.Input{{From: runtime, To: program.LibraryPath}}
	spec.Open = base
	spec.LibraryDirs = append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), filepath.Dir(runtime))
	provider := c.Provider
	if provider == models.ProviderCPU || provider == "" || provider == models.ProviderAuto && (isGuest(s.Box) || !b.hasGPU()) {
		return nil
	}
	opened, err := b.providers(filepath.Dir(runtime), provider)
	if err == nil {
		opened, err = withCompanions(spec, append(slices.Clone(base), opened...))
	}
	switch {
	case err == nil:
		spec.Open, s.GPU = opened, true
		return nil
	case provider == models.ProviderAuto:
		s.Notes = append(s.Notes, "provider auto is cpu in the box: "+err.Error())
		return nil
	}
	return fmt.Errorf("provider %s: %w", provider, err)
}

func isGuest(box string) bool { return box == configs.VM || box == configs.Unikernel }

// InPlacePath is where a model of a stage in place is in its closure: under its own name, which is told
// where its card has none. The card lies beside it.
func InPlacePath(name string) string { return path.Join(path.Dir(ModelPath), path.Base(name)) }

// model adds the model, which shall be at modelAt, its card beside it, and the labels that the card names.
func model(c models.Config, modelAt string, spec *closure.Spec) error {
	add := func(from, to string) { spec.Data = append(spec.Data, closure.Input{From: from, To: to}) }
	cardAt := models.CardPath(modelAt)
	add(c.Model, modelAt)
	at := c.Card
	if at == "" {
		at = models.CardPath(c.Model)
		if _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist) {
			return nil // the card is in the model's own metadata
		}
	}
	card, err := models.ReadCard(at)
	if err != nil {
		return err
	}
	add(at, cardAt)
	if card.LabelsFile == "" {
		return nil
	}
	to := path.Join(path.Dir(cardAt), filepath.ToSlash(card.LabelsFile))
	if to == modelAt || to == cardAt {
		return fmt.Errorf("the labels file %q of card %q cannot have this name in a box: rename it", card.LabelsFile, at)
	}
	add(filepath.Join(filepath.Dir(at), card.LabelsFile), to)
	return nil
}
