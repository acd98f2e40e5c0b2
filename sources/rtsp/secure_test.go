package rtsp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
	"sightline/sources/sim"
)

// Passwords that have broken other clients.
var nastyPasswords = []string{
	"plain", "pa#ss", "pa@ss", "pa/ss", "pa:ss", "pa%ss", "pa%41ss", "pa ss", `pa"ss`, `pa\ss`, "pa?ss&x=1", "päss€", "#@/:%", "a=b,c", "'",
}

func TestPasswordsOfAnyCharacters(t *testing.T) {
	for _, kind := range []string{"basic", "digest"} {
		for _, password := range nastyPasswords {
			t.Run(kind+" "+password, func(t *testing.T) {
				t.Parallel()
				secret := "Geheim" + password
				server := &sim.Server{Username: "viewer", Password: secret, Basic: kind == "basic", Digest: kind == "digest"}
				c := startCamera(t, server, sim.StreamOptions{}, 500)
				env, logged := environment(&network{})
				config := c.config(rtsp.TransportTCP)
				config.Username, config.Password = "viewer", pipeline.NewSecret(secret)
				receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
				hidden(t, logged.String())
			})
		}
	}
}

// hidden fails the test when a text shows a password of these tests.
func hidden(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "Geheim") {
		t.Errorf("the password is shown:\n%s", text)
	}
}

// Some cameras want the password in the path, where a pipeline file puts it by ${VARIABLE}.
func TestPasswordInThePathOfTheAddress(t *testing.T) {
	for _, path := range []string{"user=admin_password=Geheim_channel=1_stream=0.sdp", "live?usr=admin&pwd=Geheim"} {
		env, logged := environment(&network{})
		config := sources.RTSP{URL: "rtsp://127.0.0.1:1/" + path, Transport: rtsp.TransportAuto}
		_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
		mustContain(t, err, "rtsp://127.0.0.1:1/")
		hidden(t, err.Error()+logged.String())
	}
	_, err := tryReceive(t, &rtsp.Source{Config: sources.RTSP{URL: "rtp://127.0.0.1/?password=Geheim"}}, pipeline.Env{}, atLeast(1))
	mustContain(t, err, "is not an address")
	hidden(t, err.Error())
}

func TestPasswordFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("Geheim #1\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCamera(t, &sim.Server{Username: "viewer", Password: "Geheim #1"}, sim.StreamOptions{}, 500)
	env, _ := environment(&network{})
	config := c.config(rtsp.TransportUDP)
	config.Username, config.PasswordFile = "viewer", file
	receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
	env.ReadFile = func(name string) ([]byte, error) {
		if name != "only in a box" {
			return nil, os.ErrNotExist
		}
		return os.ReadFile(file)
	}
	config.PasswordFile = "only in a box"
	receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
}

func TestRefusedCredentials(t *testing.T) {
	for _, test := range []struct {
		name, username, password, says string
	}{
		{"a wrong password", "viewer", "Geheim wrong@#", "check username and password_file"},
		{"no user", "", "", "set username and password_file"},
	} {
		for _, kind := range []string{"basic", "digest"} {
			t.Run(test.name+" by "+kind, func(t *testing.T) {
				t.Parallel()
				server := &sim.Server{Username: "viewer", Password: "Geheim right", Basic: kind == "basic", Digest: kind == "digest"}
				c := startCamera(t, server, sim.StreamOptions{}, 500)
				env, logged := environment(&network{})
				config := c.config(rtsp.TransportAuto)
				config.Username, config.Password = test.username, pipeline.NewSecret(test.password)
				_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
				mustContain(t, err, "401", test.says)
				if !pipeline.IsPermanent(err) {
					t.Errorf("%v is not permanent", err)
				}
				hidden(t, err.Error()+logged.String())
			})
		}
	}
}

func TestStreamThatIsNotThere(t *testing.T) {
	c := startCamera(t, &sim.Server{}, sim.StreamOptions{}, 500)
	env, _ := environment(&network{})
	config := c.config(rtsp.TransportTCP)
	config.URL += "s"
	_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
	mustContain(t, err, "404", "check the path")
	if pipeline.IsPermanent(err) {
		t.Errorf("%v is permanent, but cameras answer so while they start", err)
	}
}

// certificate makes one for 127.0.0.1, and the file of its authority (itself).
func certificate(t *testing.T, address string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "camera"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, file
}

func fingerprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return hex.EncodeToString(sum[:])
}

func withColons(hexadecimal string) string {
	var pairs []string
	for i := 0; i < len(hexadecimal); i += 2 {
		pairs = append(pairs, strings.ToUpper(hexadecimal[i:i+2]))
	}
	return strings.Join(pairs, ":")
}

func TestTLS(t *testing.T) {
	own, ownCA := certificate(t, "127.0.0.1")
	other, otherCA := certificate(t, "127.0.0.1")
	elsewhere, elsewhereCA := certificate(t, "192.0.2.1")
	for _, test := range []struct {
		name        string
		certificate tls.Certificate
		ca, finger  string
		refused     string // "" is accepted
	}{
		{"an authority that is named", own, ownCA, "", ""},
		{"a certificate that is pinned", own, "", fingerprint(own), ""},
		{"a certificate that is pinned, with colons", own, "", withColons(fingerprint(own)), ""},
		{"another authority", own, otherCA, "", "not trusted"},
		{"the system's authorities", own, "", "", "not trusted"},
		{"another certificate", own, "", fingerprint(other), fingerprint(own)},
		{"a certificate for another address", elsewhere, elsewhereCA, "", "not trusted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := &sim.Server{
				TLS:      &tls.Config{Certificates: []tls.Certificate{test.certificate}, MinVersion: tls.VersionTLS12},
				Username: "viewer", Password: "Geheim",
			}
			c := startCamera(t, server, sim.StreamOptions{}, 5000)
			env, logged := environment(&network{})
			config := c.config(rtsp.TransportAuto)
			config.CAFile, config.Fingerprint = test.ca, test.finger
			config.Username, config.Password = "viewer", pipeline.NewSecret("Geheim")
			if test.refused == "" {
				units := receive(t, &rtsp.Source{Config: config}, env, bySenderReport)
				if len(units) == 0 {
					t.Error("no pictures")
				}
				config.Transport, config.URL = rtsp.TransportTLS, strings.Replace(config.URL, "rtsps:", "rtsp:", 1)
				receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
				return
			}
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
			mustContain(t, err, test.refused)
			if !pipeline.IsPermanent(err) {
				t.Errorf("%v is not permanent", err)
			}
			hidden(t, err.Error()+logged.String())
		})
	}
}
