package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

//go:embed page.html
var page []byte

// Server serves a Board:
//
//	/         a page to look at
//	/healthz  200 while the process lives
//	/readyz   200 once every model is warm and has answered a frame, else 503 and what is missing
//	/metrics  Prometheus text format
//	/status   JSON: stages with states and counts, newest results
type Server struct {
	Board  *Board
	Listen string // address to listen on
	Remote bool   // accept requests made to names other than this machine's loopback
	Log    *slog.Logger

	listener net.Listener
	server   *http.Server
}

// Open listens and serves until Close; errors afterwards are logged.
func (s *Server) Open() error {
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("serve status on %s: %w (set http.listen to another address, or to off)", s.Listen, err)
	}
	s.listener = listener
	s.server = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := s.server.Serve(listener); err != http.ErrServerClosed {
			s.Log.Error("status server ended", "err", err)
		}
	}()
	return nil
}

// Address is where the server listens, once open.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends the server; requests under way may finish while ctx lasts.
func (s *Server) Close(ctx context.Context) error { return s.server.Shutdown(ctx) }

// Handler returns the routes.
func (s *Server) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s.Board}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /status", s.status)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return s.guard(mux)
}

// guard refuses requests for names that are not this machine's, which a web page elsewhere could
// make a browser send (DNS rebinding), and keeps answers out of other sites.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.Remote && !loopback(r.Host) {
			http.Error(w, "this address is served to this machine only", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	ok, missing := s.Board.Ready()
	if !ok {
		http.Error(w, missing, http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s.Board.report()); err != nil {
		s.Log.Debug("write status", "err", err)
	}
}
