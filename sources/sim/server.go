// Package sim is a simulated IP camera: a real RTSP server on loopback with pictures whose truth is
// known. Demo, bench and tests watch it; no pipeline needs it.
//
// Server serves streams, Camera renders and encodes a scene live, Loop serves pictures that were
// encoded beforehand on an exact schedule.
package sim

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// defaultReports is the period of sender reports; real cameras take up to five seconds.
const defaultReports = 500 * time.Millisecond

// Server is the RTSP server of a simulated camera. Its fields are not changed after the first Start.
type Server struct {
	// Address is host:port to listen on; with port 0 Start chooses one, which later Starts keep.
	// Default 127.0.0.1:0.
	Address            string
	Username, Password string // asked for when Username is not empty
	// Basic and Digest say which kinds of authentication are offered; both when neither is set.
	Basic, Digest bool
	TLS           *tls.Config   // serve rtsps:// when set
	NoUDP         bool          // refuse media over UDP
	Reports       time.Duration // period of sender reports; 0 means 500 ms, less than 0 that there are none
	ClockError    time.Duration // what the camera's clock is ahead of this machine's
	Log           *slog.Logger  // what goes wrong with viewers; default: nothing

	mu      sync.Mutex
	server  *gortsplib.Server // nil while stopped
	streams map[string]*Stream
}

// Start listens, with all the streams that were added. After Stop it may be called again.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return errors.New("start camera: it runs already")
	}
	if s.Address == "" {
		s.Address = "127.0.0.1:0"
	}
	server, err := s.listen()
	if err != nil {
		return fmt.Errorf("start camera at %s: %w", s.Address, err)
	}
	s.server = server
	for path, stream := range s.streams {
		if err := stream.open(server); err != nil {
			s.stop()
			return fmt.Errorf("start stream %q: %w", path, err)
		}
	}
	return nil
}

// listen tries pairs of UDP ports until one is free.
func (s *Server) listen() (*gortsplib.Server, error) {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, err
	}
	for range 32 {
		server := s.configure()
		if !s.NoUDP {
			port := 10000 + 2*rand.IntN((65534-10000)/2)
			server.UDPRTPAddress = net.JoinHostPort(host, strconv.Itoa(port))
			server.UDPRTCPAddress = net.JoinHostPort(host, strconv.Itoa(port+1))
		}
		if err = server.Start(); err == nil {
			return server, nil
		}
		if s.NoUDP {
			break
		}
	}
	return nil, err
}

func (s *Server) configure() *gortsplib.Server {
	server := &gortsplib.Server{
		Handler: &handler{s}, RTSPAddress: s.Address, TLSConfig: s.TLS,
		WriteQueueSize: 4096, // a keyframe of a large picture goes out at once
		// gortsplib writes fractions of seconds in nanoseconds (its issue 869), so the reports are
		// made in stream.go.
		DisableRTCPSenderReports: true,
		Listen: func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err == nil {
				s.Address = l.Addr().String()
			}
			return l, err
		},
	}
	if s.Basic {
		server.AuthMethods = append(server.AuthMethods, auth.VerifyMethodBasic)
	}
	if s.Digest {
		server.AuthMethods = append(server.AuthMethods, auth.VerifyMethodDigestMD5)
	}
	return server
}

// Stop closes every connection, as if the camera lost power. Streams stay and can be published to, to
// nobody.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.server == nil {
		return
	}
	s.server.Close()
	for _, stream := range s.streams {
		stream.close()
	}
	s.server = nil
}

// URL returns the address of a stream, without user and password.
func (s *Server) URL(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	scheme := "rtsp"
	if s.TLS != nil {
		scheme = "rtsps"
	}
	return scheme + "://" + s.Address + "/" + strings.TrimPrefix(path, "/")
}

// Add makes a stream that viewers find at path. It may be added before Start or after.
func (s *Server) Add(path string, options StreamOptions) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path = strings.TrimPrefix(path, "/")
	if s.streams[path] != nil {
		return nil, fmt.Errorf("add stream %q: there is one already", path)
	}
	stream, err := newStream(options, s.Reports, s.ClockError)
	if err != nil {
		return nil, fmt.Errorf("add stream %q: %w", path, err)
	}
	if s.server != nil {
		if err := stream.open(s.server); err != nil {
			return nil, fmt.Errorf("add stream %q: %w", path, err)
		}
	}
	if s.streams == nil {
		s.streams = map[string]*Stream{}
	}
	s.streams[path] = stream
	return stream, nil
}

func (s *Server) find(path string) *gortsplib.ServerStream {
	s.mu.Lock()
	stream := s.streams[strings.Trim(path, "/")]
	s.mu.Unlock()
	if stream == nil {
		return nil
	}
	return stream.served()
}

// handler answers viewers. Its methods are called by gortsplib.
type handler struct{ server *Server }

var (
	_ gortsplib.ServerHandlerOnDescribe         = (*handler)(nil)
	_ gortsplib.ServerHandlerOnSetup            = (*handler)(nil)
	_ gortsplib.ServerHandlerOnPlay             = (*handler)(nil)
	_ gortsplib.ServerHandlerOnStreamWriteError = (*handler)(nil)
)

func status(code base.StatusCode) *base.Response { return &base.Response{StatusCode: code} }

// admit checks user and password and returns the stream.
func (h *handler) admit(conn *gortsplib.ServerConn, req *base.Request, path string) (*base.Response, *gortsplib.ServerStream, error) {
	s := h.server
	if s.Username != "" && !conn.VerifyCredentials(req, s.Username, s.Password) && !s.basic(req) {
		return status(base.StatusUnauthorized), nil, liberrors.ErrServerAuth{}
	}
	stream := s.find(path)
	if stream == nil {
		return status(base.StatusNotFound), nil, nil
	}
	return status(base.StatusOK), stream, nil
}

// basic checks a user and a password in which there may be a colon (RFC 7617 §2), which gortsplib does
// not read.
func (s *Server) basic(req *base.Request) bool {
	if s.Digest && !s.Basic || len(req.Header["Authorization"]) != 1 {
		return false
	}
	encoded, ok := strings.CutPrefix(req.Header["Authorization"][0], "Basic ")
	got, err := base64.StdEncoding.DecodeString(encoded)
	return ok && err == nil && string(got) == s.Username+":"+s.Password
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return h.admit(ctx.Conn, ctx.Request, ctx.Path)
}

// OnSetup implements gortsplib.ServerHandlerOnSetup.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return h.admit(ctx.Conn, ctx.Request, ctx.Path)
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (h *handler) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return status(base.StatusOK), nil
}

// OnStreamWriteError implements gortsplib.ServerHandlerOnStreamWriteError.
func (h *handler) OnStreamWriteError(ctx *gortsplib.ServerHandlerOnStreamWriteErrorCtx) {
	if h.server.Log != nil {
		h.server.Log.Warn("viewer does not keep up", "why", ctx.Error)
	}
}
