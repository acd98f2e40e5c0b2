package onvif

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"sightline/pipeline"
)

const answered = `<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><ProbeMatches><ProbeMatch><EndpointReference><Address>urn:uuid:1</Address></EndpointReference>` +
	`<Scopes>onvif://www.onvif.org/name/a%20b</Scopes><XAddrs>http://192.0.2.1/onvif http://[fe80::1]:80/x https://198.51.100.1/</XAddrs></ProbeMatch></ProbeMatches></s:Body></s:Envelope>`

func FuzzReadMatches(f *testing.F) {
	for _, seed := range []string{answered, "", "<a/>", strings.Repeat("<a>", 100), `<!DOCTYPE l [<!ENTITY a "b">]><l>&a;</l>`, strings.Replace(answered, "?>", ` encoding="gb2312"?>`, 1)} {
		f.Add([]byte(seed))
	}
	host := netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for _, m := range readMatches(datagram, host) {
			if len([]rune(m.scope("name"))) > maxText || len([]rune(m.endpoint)) > maxText {
				t.Errorf("%+v", m)
			}
			if service, _ := own(m.services, host); service != nil && !isAt(service, host) {
				t.Errorf("%v of %v is another host's", service, m.services)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(answered), 200)
	f.Add([]byte(`<E><Body><Fault><Code><Value>x</Value></Code><Reason><Text>NotAuthorized</Text></Reason></Fault></Body></E>`), 400)
	f.Add([]byte(`<E><Body><GetProfilesResponse><Profiles token="a"><Name>n</Name><VideoEncoderConfiguration><Resolution><Width>9</Width></Resolution></VideoEncoderConfiguration></Profiles></GetProfilesResponse></Body></E>`), 200)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		c := client{}
		var d described
		if err := c.understand(&http.Response{StatusCode: status}, body, &d); err != nil && len([]rune(tidy(err.Error()))) > maxText {
			t.Error(err)
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, seed := range []string{"rtsp://192.0.2.1/a", "rtsp://u:p@192.0.2.1:554/a?b=c", "rtsp://[::1]/", "http://192.0.2.1", "rtsp://\x1b[31m", "rtsp://192.0.2.1/'$(x)", "rtsp://\"#@", "rtsp://h?a@b", "rtsp://0/ @ "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		shown, _ := stream(address, netip.MustParseAddr("192.0.2.1"))
		u, err := url.Parse(shown)
		if strings.ContainsAny(shown, " \x1b\n") || err != nil || u.User != nil || u.Fragment != "" {
			t.Errorf("%q becomes %q", address, shown)
		}
	})
}

func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{`Digest realm="a, b", nonce="abc", qop="auth"`, "Digest ", `Digest nonce="`, "Basic x", `Digest nonce==,=,"="`, "Digest nonce=a\r\nX: y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c := readChallenge(http.Header{"Www-Authenticate": {value}})
		if c.hash == nil {
			return
		}
		if proof := c.prove("viewer", pipeline.NewSecret("s3cret"), "/onvif"); strings.Contains(proof, "s3cret") {
			t.Error(proof)
		}
	})
}
