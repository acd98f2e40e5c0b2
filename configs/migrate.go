package configs

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"sightline/configs/strict"
)

// Version 0 is the short form: a file without version, or with version: 0. It may be as version 1 is,
// and it may say, as other programs do,
//
//	cameras:                     # sources: a map of addresses, or of groups
//	  front: rtsp://192.0.2.10/stream
//	  yard: {url: rtsp://192.0.2.11/stream, username: viewer, password: "${YARD}", fps: 5}
//	model: scene.onnx            # one model for all of them, or a group with path and what a model has
//	mqtt: {host: broker.example.com, port: 1883, user: edge, password: "${BROKER}", topic_prefix: site}
//
// In sources and sinks an address may stand in place of the group of rtsp or mqtt. Nothing else differs
// from version 1, to which the nodes are moved, with their places in the file.

// migrator turns the nodes of a file of version 0 into those of version 1.
type migrator struct {
	root  *yaml.Node
	names map[string]bool // of stages
}

// migrate brings a file of an older version to this one, in memory. It returns what the file has to be
// like now, and a warning that says so; nothing when the file is of this version, or a later one.
func migrate(name string, root *yaml.Node) (text string, warning strict.Problems) {
	version := child(root, "version")
	if version != nil && version.Value != "0" {
		return "", nil
	}
	w := strict.Problem{
		File: name, Line: root.Line, Column: root.Column, Key: "version", Warning: true,
		Problem: "is missing, so the file is read as one of version 0", Suggestion: "`sightline validate --migrate` prints it as it is written now, with version: 1",
	}
	if version != nil {
		w.Line, w.Column, w.Problem = version.Line, version.Column, "is 0, which is read, but no longer written"
	}
	m := migrator{root: root, names: map[string]bool{}}
	m.version(version)
	m.cameras()
	m.short("sources", "rtsp", "url")
	m.short("sinks", "mqtt", "url")
	m.short("models", "", "")
	m.model()
	m.mqtt()
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(root); err == nil && e.Close() == nil {
		text = out.String()
	}
	return text, strict.Problems{w}
}

// version says which one it is now.
func (m *migrator) version(n *yaml.Node) {
	if n != nil {
		n.Value = strconv.Itoa(Version)
		return
	}
	key := scalar("version", m.root)
	if len(m.root.Content) > 0 { // what was said above the first key stays there
		first := m.root.Content[0]
		key.HeadComment, first.HeadComment = first.HeadComment, ""
	}
	m.root.Content = slices.Concat([]*yaml.Node{key, scalar(strconv.Itoa(Version), m.root)}, m.root.Content)
}

// cameras makes sources of a map of cameras.
func (m *migrator) cameras() {
	if child(m.root, "sources") != nil {
		return // what cameras then means nobody knows
	}
	all := rename(m.root, "cameras", "sources")
	if all == nil || all.Kind != yaml.MappingNode {
		return
	}
	for i := 1; i < len(all.Content); i += 2 {
		c := all.Content[i]
		if c.Kind == yaml.ScalarNode {
			all.Content[i] = mapping(c, scalar("rtsp", c), mapping(c, scalar("url", c), c))
			continue
		}
		if c.Kind != yaml.MappingNode || child(c, "rtsp") != nil {
			continue
		}
		rename(c, "user", "username")
		rtsp, rest := take(c, "url", "username", "password", "password_file", "transport", "ca_file", "fingerprint", "stall")
		if fps, left := take(rest, "fps"); len(fps.Content) > 0 && child(rest, "sample") == nil {
			rest = left
			rest.Content = append(rest.Content, scalar("sample", fps), fps)
		}
		rest.Content = slices.Concat([]*yaml.Node{scalar("rtsp", rtsp), rtsp}, rest.Content)
		all.Content[i] = rest
	}
}

// short makes groups of addresses that stand in their place, and notes the names of the section.
func (m *migrator) short(section, kind, key string) {
	all := child(m.root, section)
	if all == nil || all.Kind != yaml.MappingNode {
		return
	}
	for i := 1; i < len(all.Content); i += 2 {
		m.names[all.Content[i-1].Value] = true
		if at := child(all.Content[i], kind); kind != "" && at != nil && at.Kind == yaml.ScalarNode {
			address := *at
			*at = *mapping(at, scalar(key, at), &address)
		}
	}
}

// model makes the one model of all cameras.
func (m *migrator) model() {
	if child(m.root, "models") != nil {
		return
	}
	one := rename(m.root, "model", "models")
	if one == nil {
		return
	}
	group := *one
	if one.Kind == yaml.ScalarNode {
		value := *one
		group = *mapping(one, scalar("model", one), &value)
	}
	rename(&group, "path", "model")
	if child(&group, "inputs") == nil {
		group.Content = slices.Concat([]*yaml.Node{scalar("inputs", one), m.all("sources", one)}, group.Content)
	}
	*one = *mapping(one, scalar(m.free("model"), one), &group)
}

// mqtt makes the one sink of all results.
func (m *migrator) mqtt() {
	if child(m.root, "sinks") != nil {
		return
	}
	one := rename(m.root, "mqtt", "sinks")
	if one == nil {
		return
	}
	broker := *one
	if one.Kind == yaml.ScalarNode {
		value := *one
		broker = *mapping(one, scalar("url", one), &value)
	}
	rename(&broker, "user", "username")
	rename(&broker, "topic_prefix", "prefix")
	if child(&broker, "url") == nil {
		broker = *brokerURL(&broker)
	}
	sink := mapping(one, scalar("inputs", one), m.all("models", one), scalar("mqtt", one), &broker)
	*one = *mapping(one, scalar(m.free("broker"), one), sink)
}

// brokerURL writes host, port and tls as one address.
func brokerURL(broker *yaml.Node) *yaml.Node {
	host, port, tls := child(broker, "host"), child(broker, "port"), child(broker, "tls")
	if host == nil || host.Kind != yaml.ScalarNode || port != nil && port.Kind != yaml.ScalarNode || tls != nil && tls.Kind != yaml.ScalarNode {
		return broker
	}
	scheme, address := "mqtt", host.Value
	if tls != nil && tls.Value == "true" || tls == nil && port != nil && port.Value == "8883" {
		scheme = "mqtts"
	}
	if strings.Count(address, ":") > 1 && !strings.HasPrefix(address, "[") {
		address = "[" + address + "]"
	}
	if port != nil {
		address += ":" + port.Value
	}
	_, rest := take(broker, "host", "port", "tls")
	url := scalar(scheme+"://"+address, host)
	url.Style = yaml.DoubleQuotedStyle
	rest.Content = slices.Concat([]*yaml.Node{scalar("url", host), url}, rest.Content)
	return rest
}

// all lists the names of a section.
func (m *migrator) all(section string, at *yaml.Node) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Line: at.Line, Column: at.Column}
	if n := child(m.root, section); n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			list.Content = append(list.Content, scalar(n.Content[i].Value, n.Content[i]))
		}
	}
	return list
}

// free returns a name that no stage has.
func (m *migrator) free(name string) string {
	for at, i := name, 1; ; i++ {
		if !m.names[at] {
			m.names[at] = true
			return at
		}
		at = fmt.Sprintf("%s-%d", name, i)
	}
}

// child returns the value of a key; nil when n has none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// rename gives a key another name and returns its value; nil when it is not there, or both are.
func rename(n *yaml.Node, key, to string) *yaml.Node {
	if child(n, to) != nil {
		return nil
	}
	value := child(n, key)
	for i := 0; value != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i].Value = to
			return value
		}
	}
	return nil
}

// take parts a group in two: the keys that are named, and the others.
func take(n *yaml.Node, keys ...string) (taken, rest *yaml.Node) {
	taken, rest = mapping(n), mapping(n)
	rest.Style, taken.Style = n.Style, n.Style
	for i := 0; i+1 < len(n.Content); i += 2 {
		to := rest
		if slices.Contains(keys, n.Content[i].Value) {
			to = taken
		}
		to.Content = append(to.Content, n.Content[i], n.Content[i+1])
	}
	return taken, rest
}

// scalar and mapping make nodes in the place of another.
func scalar(text string, at *yaml.Node) *yaml.Node {
	n := &yaml.Node{Line: at.Line, Column: at.Column}
	n.SetString(text)
	if _, err := strconv.Atoi(text); err == nil {
		n.Tag = "!!int"
	}
	return n
}

func mapping(at *yaml.Node, content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column, Content: content}
}
