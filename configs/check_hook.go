package configs

import (
	"maps"
	"regexp"
	"slices"

	"sightline/sinks"
)

// discovery checks what Home Assistant is told, and fills in what there is.
func (c *checker) discovery(path string, m *sinks.MQTT, inputs []string) {
	d := &m.Discovery
	c.topic(path+".prefix", d.Prefix)
	d.Remove = c.doc.Given(path+".enabled") && !d.Enabled
	for _, key := range []string{"prefix", "expire_after"} {
		if c.doc.Given(path+"."+key) && !c.doc.Stands(path+".enabled") {
			c.warn(path+"."+key, "has no effect without enabled", "add enabled: true")
		}
	}
	if !d.Enabled {
		return
	}
	for _, name := range inputs {
		model := c.p.Models[name]
		regions := slices.Sorted(maps.Keys(model.Regions))
		if len(regions) == 0 {
			regions = []string{""}
		}
		for _, source := range model.Inputs {
			for _, region := range regions {
				d.Places = append(d.Places, sinks.Place{Source: source, Stage: name, Region: region, Events: model.Events != nil})
			}
		}
	}
}

// headerValue is what a header's value may hold (RFC 9110 §5.5, without what is obsolete).
var headerValue = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?$`)

// ownHeaders are those that the sink writes itself, or that belong to the connection.
var ownHeaders = []string{
	"authorization", "connection", "content-encoding", "content-length", "content-type", "host", "idempotency-key", "keep-alive",
	"proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "x-sightline-signature",
}

// secretHeader finds names of headers whose values are secrets.
var secretHeader = regexp.MustCompile(`(^|-)(api-?key|auth|cookie|key|password|secret|token)($|-)`)

// hook checks a web server that batches are posted to.
func (c *checker) hook(path string, h *sinks.HTTP) {
	c.secret(path, "token", &h.Token, &h.TokenFile)
	c.secret(path+".hmac", "secret", &h.HMAC.Secret, &h.HMAC.SecretFile)
	c.tokenHeader(path, h)
	c.existing(path+".ca_file", &h.CAFile)
	c.existing(path+".cert_file", &h.CertFile)
	c.existing(path+".key_file", &h.KeyFile)
	c.pair(path)
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		c.header(path+".headers."+name, name, h.Headers[name])
	}
	if c.doc.Given(path+".hmac") && !c.doc.Stands(path+".hmac.secret") && !c.doc.Stands(path+".hmac.secret_file") {
		c.problem(path+".hmac", "has no key", "add secret_file, or secret: ${VARIABLE}")
	}
	u := c.address(path+".url", h.URL, []string{"https", "http"}, nil)
	if u == nil || u.Scheme == "https" {
		return
	}
	c.withoutTLS(path, "https://")
	if !loopback(u.Hostname()) && (c.doc.Stands(path+".token") || c.doc.Stands(path+".token_file")) {
		c.warn(path+".url", "sends the token unencrypted", "write https:// if the server has TLS")
	}
}

// headerName is what a header may be called here (RFC 9110 §5.6.2, in lower case).
var headerName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

func (c *checker) tokenHeader(path string, h *sinks.HTTP) {
	at := path + ".token_header"
	switch {
	case !c.doc.Given(at):
	case !headerName.MatchString(h.TokenHeader):
		c.problem(at, "is not the name of a header", "write it in lower case, like x-api-key")
	case slices.Contains(ownHeaders, h.TokenHeader):
		c.problem(at, "is a header that Sightline writes itself", "remove it for Authorization: Bearer")
	case !c.doc.Stands(path+".token") && !c.doc.Stands(path+".token_file"):
		c.problem(at, "is there without a token", "add token_file")
	}
}

func (c *checker) header(path, name, value string) {
	switch {
	case slices.Contains(ownHeaders, name):
		c.problem(path, "is a header that Sightline writes itself", "remove it; a token goes into token_file")
	case secretHeader.MatchString(name):
		c.problem(path, "looks like a secret, which does not belong in this file", "write it as token_file with token_header")
	case !headerValue.MatchString(value):
		c.problem(path, "has a value that no header may have", "use printable ASCII on one line")
	}
}
