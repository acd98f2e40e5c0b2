package onvif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"sightline/pipeline"
)

// The services, by their namespaces.
const (
	deviceNS = "http://www.onvif.org/ver10/device/wsdl"
	mediaNS  = "http://www.onvif.org/ver10/media/wsdl"
	media2NS = "http://www.onvif.org/ver20/media/wsdl"
	schemaNS = "http://www.onvif.org/ver10/schema"
)

// clock asks what a device's clock says, which takes no login, and keeps how far it is ahead.
func (c *client) clock(ctx context.Context, service string) (time.Duration, error) {
	var a struct {
		Year   int `xml:"Body>GetSystemDateAndTimeResponse>SystemDateAndTime>UTCDateTime>Date>Year"`
		Month  int `xml:"Body>GetSystemDateAndTimeResponse>SystemDateAndTime>UTCDateTime>Date>Month"`
		Day    int `xml:"Body>GetSystemDateAndTimeResponse>SystemDateAndTime>UTCDateTime>Date>Day"`
		Hour   int `xml:"Body>GetSystemDateAndTimeResponse>SystemDateAndTime>UTCDateTime>Time>Hour"`
		Minute int `xml:"Body>GetSystemDateAndTimeResponse>SystemDateAndTime>UTCDateTime>Time>Minute"`
		Second int `xml:"Body>GetSystemDateAndTimeResponse>SystemDateAndTime>UTCDateTime>Time>Second"`
	}
	if err := c.call(ctx, service, `<GetSystemDateAndTime xmlns="`+deviceNS+`"/>`, &a); err != nil {
		return 0, err
	}
	if a.Year < 1970 || a.Year > 9999 {
		return 0, errors.New("the camera tells no time")
	}
	at := time.Date(a.Year, time.Month(a.Month), a.Day, a.Hour, a.Minute, a.Second, 0, time.UTC)
	c.offset = time.Until(at)
	return c.offset, nil
}

type information struct {
	Manufacturer string `xml:"Body>GetDeviceInformationResponse>Manufacturer"`
	Model        string `xml:"Body>GetDeviceInformationResponse>Model"`
	Firmware     string `xml:"Body>GetDeviceInformationResponse>FirmwareVersion"`
}

func (c *client) information(ctx context.Context, service string) (i information, err error) {
	err = c.call(ctx, service, `<GetDeviceInformation xmlns="`+deviceNS+`"/>`, &i)
	return i, err
}

// streams asks for the profiles and their addresses: by the newer media service, which knows H.265,
// where there is one, else by the older.
func (c *client) streams(ctx context.Context, service string) ([]Profile, error) {
	if at := c.media2(ctx, service); at != "" {
		if profiles, err := c.profiles(ctx, at, media2NS); err == nil && len(profiles) > 0 {
			return profiles, nil
		}
	}
	var a struct {
		Media string `xml:"Body>GetCapabilitiesResponse>Capabilities>Media>XAddr"`
	}
	err := c.call(ctx, service, `<GetCapabilities xmlns="`+deviceNS+`"><Category>All</Category></GetCapabilities>`, &a)
	if err != nil {
		return nil, fmt.Errorf("ask for capabilities: %w", err)
	}
	at := c.serviceAt(a.Media)
	if at == "" {
		return nil, errors.New("the camera names no media service")
	}
	return c.profiles(ctx, at, mediaNS)
}

// media2 is empty when there is no such service.
func (c *client) media2(ctx context.Context, service string) string {
	var a struct {
		Services []struct {
			Namespace string
			XAddr     string
		} `xml:"Body>GetServicesResponse>Service"`
	}
	body := `<GetServices xmlns="` + deviceNS + `"><IncludeCapability>false</IncludeCapability></GetServices>`
	if c.call(ctx, service, body, &a) != nil {
		return ""
	}
	for _, s := range a.Services {
		if strings.TrimSpace(s.Namespace) == media2NS {
			return c.serviceAt(s.XAddr)
		}
	}
	return ""
}

// serviceAt is the address of a service at the device, whatever host its address names.
func (c *client) serviceAt(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || len(address) > maxAddress || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	service, _ := own([]*url.URL{u}, c.host)
	return service.String()
}

// encoder is a video encoder as both media services describe it.
type encoder struct {
	Encoding string
	Width    int     `xml:"Resolution>Width"`
	Height   int     `xml:"Resolution>Height"`
	Rate     float64 `xml:"RateControl>FrameRateLimit"`
}

// described are the profiles as both media services describe them.
type described struct {
	Profiles []struct {
		Token string `xml:"token,attr"`
		Name  string
		Old   *encoder `xml:"VideoEncoderConfiguration"`
		New   *encoder `xml:"Configurations>VideoEncoder"`
	} `xml:"Body>GetProfilesResponse>Profiles"`
}

func (c *client) profiles(ctx context.Context, service, namespace string) ([]Profile, error) {
	body := `<GetProfiles xmlns="` + namespace + `"/>`
	if namespace == media2NS {
		body = `<GetProfiles xmlns="` + namespace + `"><Type>VideoEncoder</Type></GetProfiles>`
	}
	var a described
	if err := c.call(ctx, service, body, &a); err != nil {
		return nil, fmt.Errorf("ask for profiles: %w", err)
	}
	out := []Profile{}
	for _, d := range a.Profiles[:min(len(a.Profiles), maxProfiles)] {
		e := d.Old
		if e == nil {
			e = d.New
		}
		if e == nil || len(d.Token) > maxAddress {
			continue // no pictures
		}
		p := Profile{Token: tidy(d.Token), Name: tidy(d.Name), Codec: tidy(e.Encoding), Width: bounded(e.Width), Height: bounded(e.Height)}
		if e.Rate > 0 && e.Rate <= 1000 {
			p.FPS = e.Rate
		}
		address, err := c.address(ctx, service, namespace, d.Token)
		p.URI, p.Elsewhere = stream(address, c.host)
		switch {
		case err != nil:
			p.Problem = tidy(err.Error())
		case p.URI == "":
			p.Problem = "what the camera names is no address of a stream"
		}
		out = append(out, p)
	}
	return out, nil
}

func bounded(side int) int {
	if side < 0 || side > 1<<16 {
		return 0
	}
	return side
}

// address asks where a profile's stream is.
func (c *client) address(ctx context.Context, service, namespace, token string) (string, error) {
	var a struct {
		Old string `xml:"Body>GetStreamUriResponse>MediaUri>Uri"`
		New string `xml:"Body>GetStreamUriResponse>Uri"`
	}
	body := `<GetStreamUri xmlns="` + mediaNS + `"><StreamSetup><Stream xmlns="` + schemaNS + `">RTP-Unicast</Stream>` +
		`<Transport xmlns="` + schemaNS + `"><Protocol>RTSP</Protocol></Transport></StreamSetup><ProfileToken>` + escape(token) + `</ProfileToken></GetStreamUri>`
	if namespace == media2NS {
		body = `<GetStreamUri xmlns="` + media2NS + `"><Protocol>RTSP</Protocol><ProfileToken>` + escape(token) + `</ProfileToken></GetStreamUri>`
	}
	if err := c.call(ctx, service, body, &a); err != nil {
		return "", fmt.Errorf("ask for the address: %w", err)
	}
	return strings.TrimSpace(a.Old + a.New), nil
}

// stream makes a camera's address fit to show, and tells whether it is of another host. What is no
// address of a stream is left out.
func stream(address string, host netip.Addr) (shown string, elsewhere bool) {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxAddress || u.Scheme != "rtsp" && u.Scheme != "rtsps" || u.Hostname() == "" {
		return "", false
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	shown = pipeline.RedactText(u.String())
	for _, b := range []byte(shown) {
		if b <= ' ' || b > '~' {
			return "", false
		}
	}
	// a name with spaces is read, but written with escapes that nothing reads in a name
	if _, err := url.Parse(shown); err != nil {
		return "", false
	}
	return shown, !isAt(u, host)
}
