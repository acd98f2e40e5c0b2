// Package onvif finds cameras in the network by WS-Discovery 1.0 and asks them for the addresses of
// their streams by the ONVIF device and media services (ONVIF Core Specification §5 to §8, Media Service
// Specification, Media 2). It is pure Go.
//
// The SOAP of it is written here. The ONVIF libraries for Go that were looked at (those of use-go,
// IOTechSystems and kerberos-io, all of one root) do not fit: they take answers of any size, cannot be
// cancelled, make passwords digests of this machine's time, which cameras with a wrong clock refuse,
// connect to any address that a datagram names, print to the standard output, and bring a web framework
// with them. What is needed is six requests.
//
// All that devices say is outside input. Answers are bounded in size, number and depth, entities of a
// document type are not expanded, and requests go to the host that answered only: addresses of other
// hosts are told, with a mark, and not followed.
package onvif

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"sightline/pipeline"
)

// DefaultWait is how long answers to a search are waited for.
const DefaultWait = 3 * time.Second

// What a network can make us keep.
const (
	maxDevices  = 256
	maxProfiles = 64
	maxText     = 128
	maxAddress  = 512
	atOnce      = 8                // devices asked at the same time
	deviceLimit = 20 * time.Second // for all questions to one device
)

// Search looks for cameras.
type Search struct {
	Target   string        // host:port to ask; empty: the network, by multicast
	Wait     time.Duration // for answers; default DefaultWait
	Username string        // for cameras that want a login; shown to those only, as a digest
	Password pipeline.Secret
}

// Device is a camera that answered. Texts are its own, made short and printable. It holds no password.
type Device struct {
	Host         string    `json:"host"`                           // address that answered
	Service      string    `json:"service,omitempty"`              // address of its ONVIF service
	Moved        bool      `json:"moved,omitempty"`                // it named another host for that, which was not asked
	Endpoint     string    `json:"endpoint,omitempty"`             // its lasting identity
	Name         string    `json:"name,omitempty"`                 // given to it by its owner or maker
	Hardware     string    `json:"hardware,omitempty"`             // as it announces it
	Location     string    `json:"location,omitempty"`             // as it announces it
	Manufacturer string    `json:"manufacturer,omitempty"`         // by GetDeviceInformation
	Model        string    `json:"model,omitempty"`                // by GetDeviceInformation
	Firmware     string    `json:"firmware,omitempty"`             // by GetDeviceInformation
	ClockOffset  *float64  `json:"clock_offset_seconds,omitempty"` // what its clock is ahead of this machine's
	Login        bool      `json:"login"`                          // it wants a user that it was not shown, or refuses it
	Profiles     []Profile `json:"profiles"`
	Problem      string    `json:"problem,omitempty"` // why its streams are not known
}

// Profile is one stream of a camera.
type Profile struct {
	Token  string  `json:"token"`
	Name   string  `json:"name,omitempty"`
	Codec  string  `json:"codec,omitempty"` // as the camera writes it: H264, H265, JPEG
	Width  int     `json:"width,omitempty"`
	Height int     `json:"height,omitempty"`
	FPS    float64 `json:"fps,omitempty"`
	URI    string  `json:"uri,omitempty"` // without user and password
	// Elsewhere says that the address is of another host than the camera, which may be a trap.
	Elsewhere bool   `json:"elsewhere,omitempty"`
	Problem   string `json:"problem,omitempty"` // why there is no address
}

// Run searches, then asks each camera that answered. An error says why none could be searched for; that
// a camera does not tell its streams is said by its Problem.
func (s *Search) Run(ctx context.Context) ([]Device, error) {
	matches, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	devices := make([]Device, len(matches))
	var asking sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for i := range matches {
		asking.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			limited, cancel := context.WithTimeout(ctx, deviceLimit)
			defer cancel()
			devices[i] = s.ask(limited, matches[i])
		})
	}
	asking.Wait()
	slices.SortFunc(devices, func(a, b Device) int {
		x, _ := netip.ParseAddr(a.Host)
		y, _ := netip.ParseAddr(b.Host)
		if c := x.Compare(y); c != 0 {
			return c
		}
		return strings.Compare(a.Endpoint, b.Endpoint)
	})
	return devices, nil
}

// ask puts together what one camera tells of itself.
func (s *Search) ask(ctx context.Context, m match) Device {
	d := Device{Host: m.from.String(), Endpoint: m.endpoint, Profiles: []Profile{}}
	d.Name, d.Hardware, d.Location = m.scope("name"), m.scope("hardware"), m.scope("location")
	service, moved := own(m.services, m.from)
	if service == nil {
		d.Problem = "it names no address of an ONVIF service"
		return d
	}
	d.Service, d.Moved = service.String(), moved
	c := newClient(s, m.from)
	defer c.close()
	if offset, err := c.clock(ctx, d.Service); err == nil {
		seconds := offset.Seconds()
		d.ClockOffset = &seconds
	}
	if info, err := c.information(ctx, d.Service); err == nil {
		d.Manufacturer, d.Model, d.Firmware = tidy(info.Manufacturer), tidy(info.Model), tidy(info.Firmware)
	}
	profiles, err := c.streams(ctx, d.Service)
	if err != nil {
		d.Problem = tidy(err.Error())
		d.Login = isLogin(err)
		return d
	}
	d.Profiles = profiles
	return d
}

// Title names a camera for people.
func (d *Device) Title() string {
	model := strings.TrimSpace(d.Manufacturer + " " + d.Model)
	if model == "" {
		model = d.Hardware
	}
	switch {
	case model == "" && d.Name == "":
		return "a camera without a name"
	case model == "" || strings.Contains(d.Name, model):
		return d.Name
	case strings.Contains(model, d.Name):
		return model
	}
	return fmt.Sprintf("%s %q", model, d.Name)
}
