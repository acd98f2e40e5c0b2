package rtsp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"sightline/pipeline"
	"sightline/sources/nal"
)

// maxErrorText bounds what a camera can write into the log.
const maxErrorText = 600

// cameraError has a text for the operator; what it was made of stays reachable.
type cameraError struct {
	text string
	err  error
}

func (e *cameraError) Error() string { return e.text }
func (e *cameraError) Unwrap() error { return e.err }

// explain says what the operator can do about an error, without credentials, and marks as permanent
// what trying again will not mend.
func (c *session) explain(err error) error {
	if err == nil {
		err = errors.New("the connection ended")
	}
	advice, permanent := c.advise(err)
	text := printable(pipeline.RedactText(c.config.Hide(err.Error())))
	if advice != "" {
		text += ": " + advice
	}
	out := error(&cameraError{text, err})
	if permanent {
		out = pipeline.Permanent(out)
	}
	return out
}

func (c *session) advise(err error) (advice string, permanent bool) {
	var status liberrors.ErrClientBadStatusCode
	var auth liberrors.ErrClientAuthSetup
	switch {
	case errors.As(err, &status):
		return c.adviseStatus(status.Code)
	case errors.As(err, &auth):
		return "the camera wants a kind of authentication other than basic and digest", true
	case errors.Is(err, pipeline.ErrNotGranted):
		return "the stage may only connect to the camera that its section names", true
	case errors.Is(err, errDowngrade):
		return "it is not given; if basic is meant, restart the stage, better over tls", false
	case errors.As(err, new(*nal.SizeError)):
		return "choose a smaller picture in the camera", false
	case errors.Is(err, errFingerprint):
		return "check that this is the camera, then set fingerprint to that", true
	case isCertificateError(err):
		return "the camera's certificate is not trusted: name its authority in ca_file, or the certificate itself in fingerprint", true
	case errors.As(err, new(tls.RecordHeaderError)):
		return "the camera does not speak TLS at this port", true
	case errors.As(err, new(*net.DNSError)):
		return "the name of the camera cannot be found: check the host of the url and this machine's name server, or write the IP address", false
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at that address: check host and port, and that RTSP is switched on in the camera", false
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the camera cannot be reached: check its power and network", false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the camera closed the connection", false
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, new(liberrors.ErrClientRequestTimedOut)):
		return "the camera does not answer", false
	}
	return "", pipeline.IsPermanent(err)
}

func (c *session) adviseStatus(code base.StatusCode) (string, bool) {
	switch code {
	case base.StatusUnauthorized:
		if c.target.credentials {
			return "the camera refuses user and password: check username and password_file", true
		}
		return "the camera wants a user: set username and password_file", true
	case base.StatusForbidden:
		return "the camera's user may not see this stream", true
	case base.StatusNotFound:
		return "the camera has no stream at this address: check the path of the url", false
	case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
		return "the camera serves too many viewers", false
	case base.StatusUnsupportedTransport:
		return "the camera refuses this transport: set transport to auto or tcp", c.overUDP
	}
	return "", false
}

func isCertificateError(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

// printable makes one line of a text that a camera may have had a say in.
func printable(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(clean) > maxErrorText {
		clean = fmt.Sprintf("%s… (%d bytes more)", strings.ToValidUTF8(clean[:maxErrorText], ""), len(clean)-maxErrorText)
	}
	return clean
}
