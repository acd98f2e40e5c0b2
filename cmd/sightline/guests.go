package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sightline/configs"
	"sightline/runtime/driver"
	"sightline/runtime/supervisor"
)

// guestKind is what whole other systems are called beside the kinds of stages.
const guestKind = "guest"

// dialTime is how long connecting to what a guest was granted may take.
const dialTime = 10 * time.Second

// guests makes the stages that are whole other systems, and serves their grants.
func (s *station) guests(p *configs.Pipeline) ([]supervisor.Stage, error) {
	var stages []supervisor.Stage
	for _, name := range slices.Sorted(maps.Keys(p.Runtime.Guests)) {
		g := p.Runtime.Guests[name]
		d, err := guestDriver(p.Runtime, name, func(grant string) string { return s.grantSocket(name, grant) })
		if err != nil {
			return nil, err
		}
		for grant, address := range g.Grants {
			if err := s.serveGrant(name, grant, address); err != nil {
				return nil, err
			}
		}
		text, err := json.Marshal(g)
		if err != nil {
			return nil, fmt.Errorf("guest %q: %w", name, err)
		}
		sum := sha256.Sum256(text)
		stages = append(stages, supervisor.Stage{
			Name: name, Kind: guestKind, Driver: d, Grace: p.Grace, Settings: hex.EncodeToString(sum[:]),
			Limits: driver.Limits{Memory: int64(g.Memory), CPUs: float64(g.CPUs)},
		})
	}
	return stages, nil
}

func (s *station) grantSocket(guest, grant string) string {
	sum := sha256.Sum256([]byte(guest + "\x00" + grant))
	return filepath.Join(s.dir, "grants", hex.EncodeToString(sum[:8])) // short, as paths of sockets must be
}

// serveGrant connects a guest to an address whenever its driver asks for it, for as long as the
// program runs.
func (s *station) serveGrant(guest, grant, address string) error {
	socket := s.grantSocket(guest, grant)
	s.grantsMu.Lock()
	defer s.grantsMu.Unlock()
	if s.grants == nil {
		s.grants = map[string]string{}
	}
	known := s.grants[socket] != ""
	s.grants[socket] = address
	if known {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return fmt.Errorf("serve grant %q of guest %q: %w", grant, guest, err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("serve grant %q of guest %q: %w", grant, guest, err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("serve grant %q of guest %q: %w", grant, guest, err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the program ends
			}
			go s.connect(conn, socket, guest, grant)
		}
	}()
	return nil
}

// connect carries one connection of a guest.
func (s *station) connect(from net.Conn, socket, guest, grant string) {
	defer from.Close()
	s.grantsMu.Lock()
	address := s.grants[socket]
	s.grantsMu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	to, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		s.log.Warn("what a guest was granted cannot be reached", "stage", guest, "grant", grant, "err", err)
		time.Sleep(time.Second) // its driver asks again at once
		return
	}
	defer to.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // however it ended, it has ended
			done <- struct{}{}
		}()
	}
	<-done
}
