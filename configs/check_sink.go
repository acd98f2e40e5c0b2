package configs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"sightline/sinks"
)

// sink checks one publish stage and returns it settled.
func (c *checker) sink(path string, s sinks.Config) sinks.Config {
	c.inputs(path, s.Inputs, "models", slices.Sorted(maps.Keys(c.p.Models)))
	if s.MQTT != nil {
		c.mqtt(path+".mqtt", s.MQTT)
		c.discovery(path+".mqtt.discovery", s.MQTT, s.Inputs)
	}
	if s.HTTP != nil {
		c.hook(path+".http", s.HTTP)
	}
	if s.JSONL != nil {
		c.jsonl(path+".jsonl.path", &s.JSONL.Path)
	}
	c.sends(path+".send", s)
	return s
}

// sends checks that what is to be sent is made.
func (c *checker) sends(path string, s sinks.Config) {
	if !c.doc.Given(path) {
		return
	}
	events := slices.ContainsFunc(s.Inputs, func(model string) bool { return c.p.Models[model].Events != nil })
	switch {
	case len(s.Send) == 0:
		c.problem(path, "is empty", "write results, events, or both; or remove it for both")
	case !s.Sends(sinks.SendResults) && !events && len(s.Inputs) > 0:
		c.problem(path, "wants events, and no model of inputs makes any", "add events: {} to the model")
	}
	for i, kind := range s.Send {
		if slices.Contains(s.Send[:i], kind) {
			c.problem(fmt.Sprintf("%s[%d]", path, i), "is there twice", "remove it")
		}
	}
}

func (c *checker) mqtt(path string, m *sinks.MQTT) {
	c.password(path, m.Username, &m.Password, &m.PasswordFile)
	c.existing(path+".ca_file", &m.CAFile)
	c.existing(path+".cert_file", &m.CertFile)
	c.existing(path+".key_file", &m.KeyFile)
	c.topic(path+".prefix", m.Prefix)
	c.pair(path)
	u := c.address(path+".url", m.URL, []string{"mqtt", "mqtts"}, map[string]string{"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts"})
	if u == nil {
		return
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		c.problem(path+".url", "has something after the port", "write it like mqtt://host:port; topics begin with prefix")
	}
	if u.Scheme == "mqtts" {
		return
	}
	c.withoutTLS(path, "mqtts://")
	if !loopback(u.Hostname()) && (c.doc.Stands(path+".password") || c.doc.Stands(path+".password_file")) {
		c.warn(path+".url", "sends the password unencrypted", "write mqtts:// if the broker has TLS")
	}
}

// pair checks that the certificate of a client has its key.
func (c *checker) pair(path string) {
	cert, key := c.doc.Stands(path+".cert_file"), c.doc.Stands(path+".key_file")
	if cert && !key {
		c.problem(path+".cert_file", "is there without key_file", "a client certificate needs both")
	} else if key && !cert {
		c.problem(path+".key_file", "is there without cert_file", "a client certificate needs both")
	}
}

// withoutTLS refuses certificates that nothing uses.
func (c *checker) withoutTLS(path, scheme string) {
	for _, key := range []string{"ca_file", "cert_file", "key_file"} {
		if c.doc.Given(path + "." + key) {
			c.problem(path+"."+key, "has no use without TLS", "write "+scheme+" in url")
		}
	}
}

// topic checks a topic prefix (MQTT 3.1.1 §4.7).
func (c *checker) topic(path, prefix string) {
	switch {
	case !c.doc.Given(path):
	case prefix == "":
		c.problem(path, "is empty", "remove it for the default, sightline")
	case strings.ContainsAny(prefix, "+#"):
		c.problem(path, "has + or #, which stand for any topic", "remove them")
	case strings.HasPrefix(prefix, "$"):
		c.problem(path, "begins with $, which is the broker's own", "remove it")
	case slices.Contains(strings.Split(prefix, "/"), ""):
		c.problem(path, "has an empty level", "write it without / at its ends, and // within")
	case strings.ContainsFunc(prefix, unicode.IsControl):
		c.problem(path, "has control characters, for which brokers close the connection", "remove them")
	case len(prefix) > 1024:
		c.problem(path, "has more than 1024 bytes", "")
	}
}

// jsonl checks that a file can be written where the path says.
func (c *checker) jsonl(path string, name *string) {
	if !c.doc.Given(path) || *name == "-" {
		return
	}
	written := *name
	*name = c.beside(written)
	if c.opts.Elsewhere {
		return
	}
	parent, err := os.Stat(filepath.Dir(*name))
	switch {
	case err != nil:
		c.problem(path, "its folder cannot be used: "+cause(err), whereHint(written, err))
	case !parent.IsDir():
		c.problem(path, "its folder is a file", "")
	default:
		if info, err := os.Stat(*name); err == nil && info.IsDir() {
			c.problem(path, "is a folder", "write the path of a file, or - for standard output")
		}
	}
}

// together checks what sinks may not share.
func (c *checker) together() {
	files, clients := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.p.Sinks)) {
		path, s := "sinks."+name, c.p.Sinks[name]
		if s.JSONL != nil && s.JSONL.Path != "-" && s.JSONL.Path != "" {
			c.shared(files, s.JSONL.Path, path+".jsonl.path", "is written by", "write to another file")
		}
		if s.MQTT != nil && s.MQTT.ClientID != "" && s.MQTT.URL != "" {
			c.shared(clients, s.MQTT.URL+" "+s.MQTT.ClientID, path+".mqtt.client_id", "is used at the same broker by",
				"a broker disconnects the one when the other comes; choose another")
		}
	}
}

func (c *checker) shared(taken map[string]string, what, path, problem, suggestion string) {
	if other, ok := taken[what]; ok {
		c.problem(path, problem+" "+other+" too", suggestion)
		return
	}
	taken[what] = path
}

// topics warns of sinks that share what says whether the device is there.
func (c *checker) topics() {
	taken := map[[2]string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.p.Sinks)) {
		m := c.p.Sinks[name].MQTT
		if m == nil {
			continue
		}
		at := [2]string{m.URL, m.Prefix}
		other, ok := taken[at]
		if ok && m.Discovery.Enabled && c.p.Sinks[other].MQTT.Discovery.Enabled {
			c.problem("sinks."+name+".mqtt.discovery", "removes from Home Assistant what "+other+" adds, since both have the same topics",
				"give it another prefix, or put its inputs into "+other)
			continue
		}
		if ok {
			c.warn("sinks."+name+".mqtt", "has the topics of "+other+", so one of them stopping says that the device is gone",
				"give it another prefix, or put its inputs into "+other)
			continue
		}
		taken[at] = name
	}
}
