package main

import (
	"errors"

	"sightline/configs"
)

// settings makes ready for the settings of a plan that are this program's own: the HTTP server and the
// log. A server is opened before the plan is applied, so that one that cannot be had changes nothing.
// settle takes them up, or, when the plan was not applied, gives back what was opened.
func (s *station) settings(p *configs.Pipeline) (settle func(applied bool) error, err error) {
	before := s.own
	nothing := func(applied bool) error {
		if applied {
			s.own = p
			s.setLevel(before, p)
		}
		return nil
	}
	switch {
	case before == nil, before.HTTP == p.HTTP:
		return nothing, nil
	case before.HTTP.Listen == p.HTTP.Listen: // there cannot be two at one address
		return func(applied bool) error {
			if !applied {
				return nil
			}
			closed := closeServer(s.http)
			s.http, err = serve(p, s.board, s.log)
			return errors.Join(closed, err, nothing(true))
		}, nil
	}
	opened, err := serve(p, s.board, s.log)
	if err != nil {
		return nil, err
	}
	return func(applied bool) error {
		if !applied {
			return closeServer(opened)
		}
		closed := closeServer(s.http)
		s.http = opened
		return errors.Join(closed, nothing(true))
	}, nil
}

// setLevel has the log follow the plan.
func (s *station) setLevel(before, p *configs.Pipeline) {
	if least, err := logLevel(p.Log.Level); err == nil && s.level != nil {
		s.level.Set(least)
	}
	if before != nil && before.Log.Format != p.Log.Format {
		s.log.Warn("log.format was changed; it counts from the next start of sightline", "format", p.Log.Format)
	}
}

// closeHTTP ends the HTTP server.
func (s *station) closeHTTP() error {
	s.applying.Lock()
	defer s.applying.Unlock()
	return closeServer(s.http)
}
