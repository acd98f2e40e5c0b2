// Package control lets an operator's program talk with a running supervisor: HTTP with JSON over a
// unix socket that only the supervisor's own user and root may use.
//
//	GET  /v1/stages                   how the stages do
//	GET  /v1/version                  of the supervisor's program
//	GET  /v1/notes                    what else there is to know, in words
//	GET  /v1/logs?stage=S&n=N&follow= lines of a stage's log, as they come
//	POST /v1/restart?stage=S          and /v1/start, /v1/stop
//	POST /v1/down                     stop everything
//	POST /v1/apply?force=             have another plan run; the body is for the supervisor's caller
//
// An answer other than 200 has the reason in words as its body.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/supervisor"
)

const (
	// SocketName is what the socket is called in the state folder.
	SocketName = "control.sock"

	maxBody   = 4 << 20 // bytes of a document
	maxLines  = 100_000
	maxConns  = 64
	headTime  = 5 * time.Second
	bodyTime  = 30 * time.Second
	idleTime  = time.Minute
	closeTime = 2 * time.Second
)

// Server answers operators. Its fields are set before Serve.
type Server struct {
	Supervisor *supervisor.Supervisor
	Version    string
	// Apply makes a plan of a document and applies it; nil: plans can't be changed over the socket.
	Apply func(ctx context.Context, document json.RawMessage, force bool) (supervisor.Report, error)
	// Notes say what operators should know besides the stages; may be nil.
	Notes func() []string
	// Down is called once everything was asked to stop, with what Supervisor.Down said; may be nil.
	Down func(error)
}

// Listen makes the socket in a state folder whose lock the caller has: what is left of an earlier one is
// removed.
func Listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen for operators: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for operators: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // the folder is closed to others even before this
		return nil, errors.Join(fmt.Errorf("listen for operators: %w", err), listener.Close())
	}
	return &guarded{Listener: listener}, nil
}

// guarded lets only the own user and root in, and not too many at once.
type guarded struct {
	net.Listener
	count atomic.Int64
}

// Accept implements net.Listener.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !mayTalk(conn) || g.count.Load() >= maxConns {
			_ = conn.Close() // nothing was said
			continue
		}
		g.count.Add(1)
		return &counted{Conn: conn, of: g}, nil
	}
}

type counted struct {
	net.Conn
	of     *guarded
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *counted) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.of.count.Add(-1)
	}
	return c.Conn.Close()
}

// mayTalk says that the other side is root or the user of this process; unix(7), SO_PEERCRED.
func mayTalk(conn net.Conn) bool {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	if raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return false
	}
	return peer.Uid == 0 || int(peer.Uid) == os.Geteuid()
}

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if server.Shutdown(short) != nil {
			_ = server.Close() // those who are still being answered have waited long enough
		}
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer operators: %w", err)
	}
	return nil
}

// Handler returns what answers.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/stages", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Supervisor.List(r.Context()), nil) })
	mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Version, nil) })
	mux.HandleFunc("GET /v1/notes", s.notes)
	mux.HandleFunc("GET /v1/logs", s.logs)
	for path, call := range map[string]func(context.Context, string) error{
		"/v1/restart": s.Supervisor.Restart, "/v1/start": s.Supervisor.StartStage, "/v1/stop": s.Supervisor.StopStage,
	} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			answer(w, struct{}{}, call(r.Context(), r.URL.Query().Get("stage")))
		})
	}
	mux.HandleFunc("POST /v1/down", s.down)
	mux.HandleFunc("POST /v1/apply", s.apply)
	return mux
}

func (s *Server) notes(w http.ResponseWriter, _ *http.Request) {
	notes := []string{}
	if s.Notes != nil {
		notes = append(notes, s.Notes()...)
	}
	answer(w, notes, nil)
}

func (s *Server) down(w http.ResponseWriter, r *http.Request) {
	err := s.Supervisor.Down(context.WithoutCancel(r.Context())) // it goes on when nobody waits for it
	answer(w, struct{}{}, err)
	if s.Down != nil {
		s.Down(err)
	}
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	if s.Apply == nil {
		http.Error(w, "this supervisor takes no other plan", http.StatusNotImplemented)
		return
	}
	var document json.RawMessage
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // every connection of a server has one
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&document); err != nil {
		http.Error(w, fmt.Sprintf("read the document: %v", err), http.StatusBadRequest)
		return
	}
	_ = control.SetReadDeadline(time.Time{}) // it may take its time, while that who asked is listened to
	report, err := s.Apply(r.Context(), document, r.URL.Query().Get("force") == "true")
	answer(w, report, err)
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // who asked may be gone
}

// logs sends lines, each at once.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	n, err := strconv.Atoi(query.Get("n"))
	if err != nil || n < 0 || n > maxLines {
		http.Error(w, fmt.Sprintf("n is %q, not a number from 0 to %d", query.Get("n"), maxLines), http.StatusBadRequest)
		return
	}
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	begun, follow := false, query.Get("follow") == "true"
	err = s.Supervisor.Logs(r.Context(), query.Get("stage"), n, follow, func(line string) error {
		begun = true
		if err := control.SetWriteDeadline(time.Now().Add(bodyTime)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil && !begun {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	}
}
