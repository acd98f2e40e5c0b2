package onvif

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WS-UsernameToken is made of it
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
)

const (
	maxAnswer   = 4 << 20 // recorders describe hundreds of profiles
	maxDepth    = 64
	answerLimit = 6 * time.Second
)

// client asks one device. It is used from one goroutine.
type client struct {
	host     netip.Addr
	http     http.Client
	username string
	password pipeline.Secret
	offset   time.Duration // what the device's clock is ahead
	shows    bool          // user and password are shown, since the device wanted that once
	digest   challenge     // of HTTP, the latest
}

func newClient(s *Search, host netip.Addr) *client {
	return &client{
		host: host, username: s.Username, password: s.Password,
		http: http.Client{
			Timeout:   answerLimit,
			Transport: &http.Transport{MaxResponseHeaderBytes: 64 << 10, DisableCompression: true},
			// What sends us elsewhere is not followed.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// loginError says that a device wants a user, or another one.
type loginError struct{ shown bool }

func (e *loginError) Error() string {
	if e.shown {
		return "the camera refuses user and password"
	}
	return "the camera wants a user: give --username and --password-file"
}

func isLogin(err error) bool { return errors.As(err, new(*loginError)) }

// call sends a request and reads the answer, at first without user and password; when the device wants
// them and there are some, with them, by WS-UsernameToken and, if it asked for that, by HTTP digest. It
// tries once more when the challenge has changed meanwhile.
func (c *client) call(ctx context.Context, service, body string, into any) error {
	nonce := c.digest.nonce
	err := c.send(ctx, service, body, into)
	if isLogin(err) && c.username != "" && (!c.shows || c.digest.nonce != nonce) {
		c.shows = true
		return c.send(ctx, service, body, into)
	}
	return err
}

func (c *client) send(ctx context.Context, service, body string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, service, bytes.NewReader(c.envelope(body)))
	if err != nil {
		return err
	}
	if !isAt(request.URL, c.host) {
		return fmt.Errorf("%s is not an address of the camera", service)
	}
	request.Header.Set("Content-Type", "application/soap+xml; charset=utf-8")
	if c.shows && c.digest.hash != nil {
		request.Header.Set("Authorization", c.digest.prove(c.username, c.password, request.URL.RequestURI()))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read answer of %s: %w", service, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("read answer of %s: it is larger than %d MiB", service, maxAnswer>>20)
	}
	return c.understand(response, data, into)
}

func (c *client) understand(response *http.Response, data []byte, into any) error {
	var fault fault
	faulty := decode(data, &fault) == nil && fault.present()
	if response.StatusCode == http.StatusUnauthorized {
		c.digest = readChallenge(response.Header)
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized, faulty && fault.unauthorized():
		return &loginError{c.shows}
	case faulty:
		return fmt.Errorf("the camera answers: %s", tidy(fault.text()))
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the camera answers HTTP %d", response.StatusCode)
	}
	if err := decode(data, into); err != nil {
		return fmt.Errorf("the camera's answer is no SOAP: %w", err)
	}
	return nil
}

// fault is a SOAP fault, of version 1.2 or 1.1.
type fault struct {
	Code    string `xml:"Body>Fault>Code>Value"`
	Subcode string `xml:"Body>Fault>Code>Subcode>Value"`
	Deeper  string `xml:"Body>Fault>Code>Subcode>Subcode>Value"`
	Reason  string `xml:"Body>Fault>Reason>Text"`
	OldCode string `xml:"Body>Fault>faultcode"`
	OldText string `xml:"Body>Fault>faultstring"`
}

func (f *fault) present() bool { return f.Code+f.Reason+f.OldCode+f.OldText != "" }

func (f *fault) text() string {
	if text := strings.TrimSpace(f.Reason + f.OldText); text != "" {
		return text
	}
	return strings.TrimSpace(f.Subcode + " " + f.Code + f.OldCode)
}

func (f *fault) unauthorized() bool {
	for _, text := range []string{f.Subcode, f.Deeper, f.OldCode, f.text()} {
		text = strings.ToLower(text)
		for _, word := range []string{"notauthorized", "not authorized", "unauthorized", "failedauthentication", "failedcheck", "authority failure"} {
			if strings.Contains(text, word) {
				return true
			}
		}
	}
	return false
}

func (c *client) envelope(body string) []byte {
	header := ""
	if c.shows {
		header = "<s:Header>" + token(c.username, c.password, time.Now().Add(c.offset)) + "</s:Header>"
	}
	return []byte(`<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">` +
		header + "<s:Body>" + body + "</s:Body></s:Envelope>")
}

// token shows user and password as a digest (WS-Security UsernameToken Profile 1.0 §3.1). created is by
// the device's clock: those that are off refuse others.
func token(user string, password pipeline.Secret, created time.Time) string {
	const wss = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	at := created.UTC().Format("2006-01-02T15:04:05.000Z")
	sum := sha1.Sum([]byte(string(nonce[:]) + at + password.Reveal())) //nolint:gosec // as the profile says
	return fmt.Sprintf(`<w:Security s:mustUnderstand="1" xmlns:w="%[1]swssecurity-secext-1.0.xsd"><w:UsernameToken><w:Username>%[2]s</w:Username>`+
		`<w:Password Type="%[1]susername-token-profile-1.0#PasswordDigest">%[3]s</w:Password>`+
		`<w:Nonce EncodingType="%[1]ssoap-message-security-1.0#Base64Binary">%[4]s</w:Nonce>`+
		`<u:Created xmlns:u="%[1]swssecurity-utility-1.0.xsd">%[5]s</u:Created></w:UsernameToken></w:Security>`,
		wss, escape(user), base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(nonce[:]), at)
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}

// decode reads a document of an outsider. Names count, whatever their namespace: devices get those
// wrong. Entities are the five of XML; those that a document defines itself are refused.
func decode(data []byte, into any) error {
	if err := checkDepth(data); err != nil {
		return err
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = asASCII
	return d.Decode(into)
}

var errDeep = errors.New("its elements are nested too deep")

// checkDepth refuses what would make the reader recurse.
func checkDepth(data []byte) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = asASCII
	for depth := 0; ; {
		t, err := d.RawToken()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth {
			return errDeep
		}
	}
}

// asASCII reads any encoding as far as it is ASCII: what matters is.
func asASCII(_ string, r io.Reader) (io.Reader, error) { return &ascii{r}, nil }

type ascii struct{ r io.Reader }

func (a *ascii) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	for i, b := range p[:n] {
		if b >= 0x80 {
			p[i] = '?'
		}
	}
	return n, err
}

// tidy makes a device's text one short printable line, without user and password of addresses in it.
func tidy(text string) string {
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(pipeline.RedactText(text), "?"))
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > maxText {
		return string(r[:maxText-1]) + "…"
	}
	return text
}
