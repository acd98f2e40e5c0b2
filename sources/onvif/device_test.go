package onvif_test

import (
	"crypto/md5"  //nolint:gosec // HTTP digest authentication is made of it
	"crypto/sha1" //nolint:gosec // WS-UsernameToken is made of it
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// device is a camera's ONVIF side: a responder of WS-Discovery on a socket of its own, and its services
// over HTTP.
type device struct {
	t                  *testing.T
	username, password string
	challenge          string        // of HTTP digest; empty: it wants a WS-UsernameToken
	ahead              time.Duration // of its clock
	media2             bool
	streamHost         string // of its stream addresses; empty: its own
	services           string // of its answers to probes; empty: its own
	answer             func(probe string) string
	web                *httptest.Server
	socket             net.PacketConn

	mu      sync.Mutex
	asked   []string // requests served, by their name
	refused int
}

// start serves until the test ends.
func (d *device) start() *device {
	d.t.Helper()
	d.web = httptest.NewServer(d)
	var err error
	if d.socket, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
		d.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); d.respond() }()
	d.t.Cleanup(func() { d.socket.Close(); <-done; d.web.Close() })
	return d
}

func (d *device) target() string { return d.socket.LocalAddr().String() }

func (d *device) respond() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := d.socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		answer := d.match(string(buffer[:n]))
		if d.answer != nil {
			answer = d.answer(string(buffer[:n]))
		}
		_, _ = d.socket.WriteTo([]byte(answer), from)
	}
}

func (d *device) match(probe string) string {
	if !strings.Contains(probe, "NetworkVideoTransmitter") {
		return ""
	}
	services := d.services
	if services == "" {
		services = d.web.URL + "/onvif/device_service"
	}
	return `<?xml version="1.0" encoding="utf-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">
<SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch>
<wsa:EndpointReference><wsa:Address>urn:uuid:11112222-3333-4444-5555-666677778888</wsa:Address></wsa:EndpointReference>
<d:Types>dn:NetworkVideoTransmitter</d:Types>
<d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/Front%20Door onvif://www.onvif.org/hardware/IPC-1 onvif://www.onvif.org/location/gate</d:Scopes>
<d:XAddrs>` + services + `</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>
</d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>`
}

// request is what a camera understands of one.
type request struct {
	User     string `xml:"Header>Security>UsernameToken>Username"`
	Password string `xml:"Header>Security>UsernameToken>Password"`
	Nonce    string `xml:"Header>Security>UsernameToken>Nonce"`
	Created  string `xml:"Header>Security>UsernameToken>Created"`
	Body     struct {
		Any struct {
			XMLName xml.Name
			Token   string `xml:"ProfileToken"`
		} `xml:",any"`
	}
}

func (d *device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	var q request
	if err == nil {
		err = xml.Unmarshal(data, &q)
	}
	if err != nil {
		d.t.Errorf("request: %v in\n%s", err, data)
	}
	name := q.Body.Any.XMLName
	d.mu.Lock()
	d.asked = append(d.asked, name.Local)
	d.mu.Unlock()
	if d.challenge != "" {
		if !d.proved(r) {
			w.Header().Add("WWW-Authenticate", `Basic realm="x"`)
			w.Header().Add("WWW-Authenticate", d.challenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	} else if name.Local != "GetSystemDateAndTime" && d.username != "" && !d.admits(&q) {
		d.mu.Lock()
		d.refused++
		d.mu.Unlock()
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, envelope(`<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:ter="http://www.onvif.org/ver10/error">ter:NotAuthorized</s:Value>`+
			`</s:Subcode></s:Code><s:Reason><s:Text xml:lang="en">Sender not Authorized</s:Text></s:Reason></s:Fault>`))
		return
	}
	fmt.Fprint(w, envelope(d.serve(name, q.Body.Any.Token)))
}

// proved checks the answer to the challenge as RFC 7616 §3.4.1 has it, written here once more.
func (d *device) proved(r *http.Request) bool {
	given := map[string]string{}
	for _, pair := range regexp.MustCompile(`(\w+)="?([^",]*)"?`).FindAllStringSubmatch(r.Header.Get("Authorization"), -1) {
		given[pair[1]] = pair[2]
	}
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) } //nolint:gosec // as the RFC says
	if strings.Contains(d.challenge, "SHA-256") {
		hash = func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	}
	middle := given["nonce"]
	if strings.Contains(d.challenge, "qop") {
		middle = strings.Join([]string{given["nonce"], given["nc"], given["cnonce"], given["qop"]}, ":")
	}
	want := hash(hash(d.username+":the, realm:"+d.password) + ":" + middle + ":" + hash("POST:"+r.URL.RequestURI()))
	return given["uri"] == r.URL.RequestURI() && given["nonce"] == "abc" && given["username"] == d.username && given["response"] == want
}

// admits checks the digest, which must be of this camera's own time.
func (d *device) admits(q *request) bool {
	nonce, err := base64.StdEncoding.DecodeString(q.Nonce)
	at, timeErr := time.Parse(time.RFC3339, q.Created)
	if err != nil || timeErr != nil || time.Now().Add(d.ahead).Sub(at).Abs() > time.Minute {
		return false
	}
	sum := sha1.Sum([]byte(string(nonce) + q.Created + d.password)) //nolint:gosec // as the profile says
	return q.User == d.username && q.Password == base64.StdEncoding.EncodeToString(sum[:])
}

func envelope(body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"` +
		` xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"><s:Body>` + body + `</s:Body></s:Envelope>`
}

func (d *device) serve(name xml.Name, token string) string {
	own := d.web.URL + "/onvif"
	newer := name.Space == "http://www.onvif.org/ver20/media/wsdl"
	host := d.streamHost
	if host == "" {
		host = "127.0.0.1:8554"
	}
	switch name.Local {
	case "GetSystemDateAndTime":
		at := time.Now().Add(d.ahead).UTC()
		return fmt.Sprintf(`<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType><tt:UTCDateTime><tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute>`+
			`<tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`,
			at.Hour(), at.Minute(), at.Second(), at.Year(), at.Month(), at.Day())
	case "GetDeviceInformation":
		return `<tds:GetDeviceInformationResponse><tds:Manufacturer>Acme</tds:Manufacturer><tds:Model>IPC-1</tds:Model><tds:FirmwareVersion>1.2.3</tds:FirmwareVersion></tds:GetDeviceInformationResponse>`
	case "GetCapabilities":
		return `<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>` + own + `/media</tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>`
	case "GetServices":
		if !d.media2 {
			return `<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text>Optional Action Not Implemented</s:Text></s:Reason></s:Fault>`
		}
		return `<tds:GetServicesResponse><tds:Service><tds:Namespace>http://www.onvif.org/ver20/media/wsdl</tds:Namespace><tds:XAddr>` + own + `/media2</tds:XAddr></tds:Service></tds:GetServicesResponse>`
	case "GetProfiles":
		if newer {
			return `<tr2:GetProfilesResponse><tr2:Profiles token="main" fixed="true"><tr2:Name>mainStream</tr2:Name><tr2:Configurations><tr2:VideoEncoder token="v1"><tt:Name>v</tt:Name><tt:Encoding>H265</tt:Encoding>` +
				`<tt:Resolution><tt:Width>2560</tt:Width><tt:Height>1440</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>12.5</tt:FrameRateLimit></tt:RateControl></tr2:VideoEncoder></tr2:Configurations></tr2:Profiles></tr2:GetProfilesResponse>`
		}
		return `<trt:GetProfilesResponse>` + oldProfile("p&amp;1", "mainStream", 1920, 1080, 25) + oldProfile("p2", "subStream", 640, 360, 10) +
			`<trt:Profiles token="p3"><tt:Name>audio only</tt:Name></trt:Profiles></trt:GetProfilesResponse>`
	case "GetStreamUri":
		if newer {
			return `<tr2:GetStreamUriResponse><tr2:Uri>rtsp://` + host + `/h265?token=` + token + `</tr2:Uri></tr2:GetStreamUriResponse>`
		}
		return `<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://admin:s3cret@` + host + `/` + token[:1] + token[len(token)-1:] + `</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect></trt:MediaUri></trt:GetStreamUriResponse>`
	}
	d.t.Errorf("asked for %q", name.Local)
	return ""
}

func oldProfile(token, name string, width, height, fps int) string {
	return fmt.Sprintf(`<trt:Profiles fixed="true" token="%s"><tt:Name>%s</tt:Name><tt:VideoEncoderConfiguration token="v"><tt:Name>v</tt:Name><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>%d</tt:Width>`+
		`<tt:Height>%d</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>%d</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles>`, token, name, width, height, fps)
}
