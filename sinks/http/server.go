package http

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	nethttp "net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/secure"
)

// SignatureHeader is the header with the signature of a request: t=SECONDS,v1=HEX. SECONDS is the time of
// signing (Unix), HEX the HMAC-SHA256 of SECONDS, a point and the body as it was sent.
const SignatureHeader = "X-Sightline-Signature"

// maxHeader bounds the header of an answer.
const maxHeader = 16 << 10

// server is where is posted to, and how.
type server struct {
	config  sinks.HTTP
	env     pipeline.Env
	url     *url.URL
	name    string // scheme and host, for people: the rest of an address may be a secret
	address string // host:port
}

// newServer checks everything that can be checked without connecting.
func newServer(c sinks.HTTP, env pipeline.Env) (*server, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the address has no host")
	}
	s := &server{config: c, env: env, url: u, name: u.Scheme + "://" + u.Host}
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the address begins with %q: only https:// and http:// do", u.Scheme+"://")
	case u.User != nil:
		return nil, errors.New("the address holds a user: use token_file")
	case u.Scheme == "http" && (c.CAFile != "" || c.CertFile != "" || c.KeyFile != ""):
		return nil, errors.New("ca_file and cert_file need an address that begins with https://")
	case c.Format != "" && c.Format != sinks.FormatJSON && c.Format != sinks.FormatNDJSON:
		return nil, fmt.Errorf("format %q: only json and ndjson are there", c.Format)
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	s.address = net.JoinHostPort(u.Hostname(), port)
	if _, err := s.tls(); err != nil {
		return nil, err
	}
	_, err = s.request(context.Background(), body{}, "", time.Now())
	return s, err
}

// tls is nil without TLS.
func (s *server) tls() (*tls.Config, error) {
	files := secure.Files{CA: s.config.CAFile, Cert: s.config.CertFile, Key: s.config.KeyFile, Read: s.env.File}
	if err := files.Check(); err != nil || s.url.Scheme != "https" {
		return nil, err
	}
	return files.Config(s.url.Hostname())
}

// transport connects through the stage's network alone, and to this server alone. It knows nothing of
// redirects, cookies and proxies.
func (s *server) transport() *nethttp.Transport {
	return &nethttp.Transport{
		DialContext:            s.dial,
		DialTLSContext:         s.dialTLS,
		DisableCompression:     true, // nothing of an answer is used
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConns:           1,
		IdleConnTimeout:        90 * time.Second,
	}
}

func (s *server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.env.Network.Dial(ctx, "tcp", s.address)
}

func (s *server) dialTLS(ctx context.Context, _, _ string) (net.Conn, error) {
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	raw, err := s.dial(ctx, "", "")
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("tls handshake: %w", err), raw.Close())
	}
	return conn, nil
}

// request makes the request that posts a body. Secrets are read anew.
func (s *server) request(ctx context.Context, b body, encoding string, now time.Time) (*nethttp.Request, error) {
	r, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, s.url.String(), bytes.NewReader(b.bytes))
	if err != nil {
		return nil, errors.New("the address cannot be posted to")
	}
	r.Header.Set("User-Agent", "Sightline")
	for name, value := range s.config.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Content-Type", "application/json")
	if s.config.Format == sinks.FormatNDJSON {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	r.Header.Set("Idempotency-Key", b.key)
	return r, errors.Join(s.identify(r), s.sign(r, b.bytes, now))
}

// identify adds the token.
func (s *server) identify(r *nethttp.Request) error {
	token, err := secure.Secret(s.env.File, s.config.Token, "token_file", s.config.TokenFile)
	if err != nil || token.Empty() {
		return err
	}
	name, value := s.config.TokenHeader, token.Reveal()
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("the token has characters that no header may have")
	}
	if name == "" {
		name, value = "Authorization", "Bearer "+value
	}
	r.Header.Set(name, value)
	return nil
}

// sign adds the signature.
func (s *server) sign(r *nethttp.Request, body []byte, now time.Time) error {
	key, err := secure.Secret(s.env.File, s.config.HMAC.Secret, "secret_file of hmac", s.config.HMAC.SecretFile)
	if err != nil || key.Empty() {
		return err
	}
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	r.Header.Set(SignatureHeader, "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	return nil
}
