package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/secure"
)

// protocol311 is MQTT 3.1.1. Said explicitly, it keeps the client library from trying 3.1 after every
// refusal.
const protocol311 = 4

// upstream is where the broker is and how it is reached.
type upstream struct {
	config  sinks.MQTT
	read    func(name string) ([]byte, error) // files that the configuration names
	url     *url.URL
	address string // host:port
	secure  bool
}

// newUpstream checks what does not depend on files.
func newUpstream(c sinks.MQTT, read func(name string) ([]byte, error)) (*upstream, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("address of the broker has no host: %q", pipeline.RedactText(c.URL))
	}
	up := &upstream{config: c, read: read, url: u, secure: u.Scheme == "mqtts"}
	port := u.Port()
	switch {
	case u.Scheme != "mqtt" && u.Scheme != "mqtts":
		return nil, fmt.Errorf("address of the broker begins with %q: only mqtt:// and mqtts:// do", u.Scheme+"://")
	case u.User != nil:
		return nil, errors.New("address of the broker holds a user: put it in username and password_file")
	case c.Username == "" && (!c.Password.Empty() || c.PasswordFile != ""):
		return nil, errors.New("password without username: MQTT 3.1.1 has no such thing")
	case c.QoS != 0 && c.QoS != 1:
		return nil, fmt.Errorf("qos %d: only 0 and 1 are there", c.QoS)
	case up.files().Check() != nil:
		return nil, up.files().Check()
	case !up.secure && (c.CAFile != "" || c.CertFile != ""):
		return nil, errors.New("ca_file and cert_file need an address that begins with mqtts://")
	case port == "" && up.secure:
		port = "8883"
	case port == "":
		port = "1883"
	}
	up.address = net.JoinHostPort(u.Hostname(), port)
	return up, nil
}

// tls is nil without TLS.
func (u *upstream) tls() (*tls.Config, error) {
	if !u.secure {
		return nil, nil
	}
	return u.files().Config(u.url.Hostname())
}

func (u *upstream) files() secure.Files {
	return secure.Files{CA: u.config.CAFile, Cert: u.config.CertFile, Key: u.config.KeyFile, Read: u.read}
}

func (u *upstream) password() (pipeline.Secret, error) {
	return secure.Secret(u.read, u.config.Password, "password_file", u.config.PasswordFile)
}

// options are those of one connection. clientID and will must be the same every time.
func (u *upstream) options(clientID, will string) (*paho.ClientOptions, error) {
	password, err := u.password()
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{u.url}
	o.SetClientID(clientID).SetUsername(u.config.Username).SetPassword(password.Reveal())
	o.SetProtocolVersion(protocol311).SetCleanSession(true)
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetKeepAlive(u.config.KeepAlive).SetPingTimeout(u.config.Timeout)
	o.SetConnectTimeout(u.config.Timeout).SetWriteTimeout(u.config.Timeout)
	o.SetWill(will, unavailable, byte(u.config.QoS), true)
	return o, nil
}

// dial opens the connection through the stage's network, and TLS on it.
func (u *upstream) dial(ctx context.Context, network pipeline.Network) (*guard, error) {
	config, err := u.tls()
	if err != nil {
		return nil, err
	}
	raw, err := network.Dial(ctx, "tcp", u.address)
	if err != nil {
		return nil, err
	}
	if config == nil {
		return &guard{Conn: raw, raw: raw}, nil
	}
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("tls handshake: %w", err), raw.Close())
	}
	return &guard{Conn: secure, raw: raw}, nil
}

// refused tells whether the broker turned the credentials down, which trying again soon will not mend.
func refused(err error) bool {
	return errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedNotAuthorised) ||
		errors.Is(err, packets.ErrorRefusedIDRejected)
}

// explain says why there is no connection, in words for the operator.
func explain(err error) string {
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "broker refused the client identifier"
	case refused(err):
		return "broker refused the user name, password or certificate"
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return "broker says that it is not available"
	case errors.As(err, &unknown):
		return "broker's certificate is signed by an authority that ca_file does not name"
	}
	text := strings.TrimPrefix(err.Error(), packets.ErrorNetworkError.Error()+" : ")
	return pipeline.RedactText(text)
}
