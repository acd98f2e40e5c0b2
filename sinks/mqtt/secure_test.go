package mqtt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

func TestTLS(t *testing.T) {
	ours := newAuthority(t)
	certificate, key := ours.issue(t, "device")
	config := func(p *peer) sinks.MQTT {
		return sinks.MQTT{URL: p.url, QoS: 1, CAFile: ours.file, CertFile: certificate, KeyFile: key}
	}
	withPeers(t, wanted{authority: ours, clientCertificates: true}, func(t *testing.T, p *peer) {
		t.Run("with a client certificate", func(t *testing.T) {
			b := newBench(config(p))
			p.subscribe(t, b.log)
			b.open(t)
			b.deliver(t, result("gate", 1, "car"))
			b.log.await(t, "result", func() bool { return b.log.resultCount() == 1 })
		})
		t.Run("with files that only the surroundings have", func(t *testing.T) {
			c := config(p)
			c.CAFile, c.CertFile, c.KeyFile = "authority", "certificate", "key"
			b := newBench(c)
			real := map[string]string{"authority": ours.file, "certificate": certificate, "key": key}
			b.files = func(name string) ([]byte, error) { return os.ReadFile(real[name]) }
			b.open(t)
			b.deliver(t, result("gate", 1, "car"))
		})
		t.Run("without one it is refused", func(t *testing.T) {
			c := config(p)
			c.CertFile, c.KeyFile = "", ""
			b := newBench(c)
			b.open(t)
			b.said.awaits(t, pipeline.StateOffline, "")
			b.neverOnline(t)
		})
		t.Run("another authority is refused", func(t *testing.T) {
			c := config(p)
			c.CAFile = newAuthority(t).file
			b := newBench(c)
			b.open(t)
			b.said.awaits(t, pipeline.StateOffline, "authority that ca_file does not name")
			b.neverOnline(t)
		})
		t.Run("another name is refused", func(t *testing.T) {
			c := config(p)
			c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
			b := newBench(c)
			b.open(t)
			b.said.awaits(t, pipeline.StateOffline, "certificate is not valid for any names")
			b.neverOnline(t)
		})
	})
}

func (b *bench) neverOnline(t *testing.T) {
	t.Helper()
	b.close(t)
	for _, s := range b.said.all() {
		if s.State == pipeline.StateOnline {
			t.Errorf("the sink was online: %+v", s)
		}
	}
}

func TestPassword(t *testing.T) {
	const right, wrong = "r#ght@p:ss/word", "wr#ng@p:ss/word"
	withPeers(t, wanted{username: "device", password: right}, func(t *testing.T, p *peer) {
		t.Run("the right one", func(t *testing.T) {
			b := newBench(sinks.MQTT{URL: p.url, QoS: 1, Username: "device", Password: pipeline.NewSecret(right)})
			b.open(t)
			b.deliver(t, result("gate", 1, "car"))
		})
		t.Run("a wrong one is reported without showing it, and a mended one works", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "password")
			write := func(password string) {
				if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(wrong)
			b := newBench(sinks.MQTT{URL: p.url, QoS: 1, Username: "device", PasswordFile: file, Timeout: 500 * time.Millisecond})
			b.open(t)
			b.said.awaits(t, pipeline.StateOffline, "broker refused the user name, password or certificate")
			err := b.sink.Deliver(t.Context(), []pipeline.Message{result("gate", 1, "car")})
			if err == nil || pipeline.IsPermanent(err) {
				t.Errorf("deliver: %v, want an error that may be tried again", err)
			}
			write(right)
			b.deliver(t, result("gate", 1, "car"))
			b.close(t)
			everything := fmt.Sprint(err, b.said.all(), b.text)
			if strings.Contains(everything, wrong) || strings.Contains(everything, right) {
				t.Errorf("a password is in what was said:\n%s", everything)
			}
			if n := strings.Count(b.text.String(), "level=WARN"); n > 2 {
				t.Errorf("%d warnings of the same thing", n)
			}
		})
	})
}

func TestConfigurationThatCannotWorkIsPermanent(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config sinks.MQTT
		want   string
	}{
		"no host":                   {sinks.MQTT{URL: "mqtt://"}, "has no host"},
		"another scheme":            {sinks.MQTT{URL: "ws://127.0.0.1"}, "only mqtt:// and mqtts://"},
		"a password in the address": {sinks.MQTT{URL: "mqtt://user:hidden@127.0.0.1"}, "holds a user"},
		"an address not to parse":   {sinks.MQTT{URL: "mqtt://user:hidden@127.0.0.1:x y"}, "has no host"},
		"a password without a user": {sinks.MQTT{URL: "mqtt://127.0.0.1", Password: pipeline.NewSecret("hidden")}, "password without username"},
		"qos 2":                     {sinks.MQTT{URL: "mqtt://127.0.0.1", QoS: 2}, "only 0 and 1"},
		"a certificate alone":       {sinks.MQTT{URL: "mqtts://127.0.0.1", CertFile: "x"}, "go together"},
		"certificates without tls":  {sinks.MQTT{URL: "mqtt://127.0.0.1", CAFile: "x"}, "need an address"},
		"a missing authority":       {sinks.MQTT{URL: "mqtts://127.0.0.1", CAFile: filepath.Join(t.TempDir(), "none")}, "read ca_file"},
		"an empty authority":        {sinks.MQTT{URL: "mqtts://127.0.0.1", CAFile: empty}, "holds no certificate"},
		"a missing password file":   {sinks.MQTT{URL: "mqtt://127.0.0.1", Username: "u", PasswordFile: "/none"}, "read password_file"},
		"a wildcard in the prefix":  {sinks.MQTT{URL: "mqtt://127.0.0.1", Prefix: "a/+"}, "cannot be a topic level"},
		"an empty prefix level":     {sinks.MQTT{URL: "mqtt://127.0.0.1", Prefix: "a//b"}, "cannot be a topic level"},
		"the broker's own topics":   {sinks.MQTT{URL: "mqtt://127.0.0.1", Prefix: "$SYS"}, "belong to the broker"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(c.config)
			err := b.sink.Open(t.Context(), b.env())
			if !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want a permanent one that says %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("the password is in %v", err)
			}
			b.close(t)
		})
	}
}
