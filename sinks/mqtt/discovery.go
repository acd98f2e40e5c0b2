package mqtt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// Home Assistant's MQTT discovery: on <prefix>/<component>/<node>/<object>/config stands, retained, what
// there is; an empty message removes it. The node is this device, so that what stands there and is no
// longer wanted can be found: it is what an earlier configuration has put there.

const (
	standardPrefix = "homeassistant"
	online         = "online" // on <prefix>/status, when Home Assistant has come up
	maxStale       = 4096     // entities removed after one connection
)

// Components of Home Assistant.
const (
	componentBinary = "binary_sensor"
	componentEvent  = "event"
	componentSensor = "sensor"
)

// Templates (Jinja) that make of our messages what Home Assistant wants.
const (
	deviceUp  = `{{ 'online' if value == 'online' else 'offline' }}`
	sourceUp  = `{{ 'online' if value_json.state == 'online' else 'offline' }}`
	sourceOn  = `{{ 'ON' if value_json.state == 'online' else 'OFF' }}`
	deviceOn  = `{{ 'ON' if value == 'online' else 'OFF' }}`
	className = `{{ (value_json['class'] if value_json['class'] is not none else 'none')[:255] }}`
	eventType = `{%% if value_json.source == %s and value_json.stage == %s and value_json.region | default('') == %s %%}` +
		`{{ dict(value_json, event_type=value_json.type) | tojson }}{%% endif %%}`
)

// entity is one thing that Home Assistant is told of.
type entity struct {
	topic   string
	payload []byte
}

// discovery is all that Home Assistant is told.
type discovery struct {
	prefix   string
	node     string
	entities []entity // what there is; none: what was there is removed
}

type object = map[string]any

// newDiscovery makes what is told, or nil for nothing.
func newDiscovery(c sinks.Discovery, t topics, device string, qos int) (*discovery, error) {
	if !c.Enabled && !c.Remove {
		return nil, nil
	}
	d := &discovery{prefix: c.Prefix, node: "sightline_" + safe(device) + "_" + short(t.base)}
	if d.prefix == "" {
		d.prefix = standardPrefix
	}
	for _, level := range strings.Split(d.prefix, "/") {
		if err := checkLevel("discovery prefix", level); err != nil {
			return nil, err
		}
	}
	if !c.Enabled {
		return d, nil
	}
	maker := entities{discovery: d, topics: t, device: device, qos: qos, expire: c.ExpireAfter}
	if err := maker.make(c.Places); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	return d, nil
}

// entities makes the entities of one device.
type entities struct {
	*discovery
	topics topics
	device string
	qos    int
	expire time.Duration
}

func (e *entities) make(places []sinks.Place) error {
	if err := e.self(); err != nil {
		return err
	}
	var sources []string
	for _, p := range places {
		if !slices.Contains(sources, p.Source) {
			sources = append(sources, p.Source)
			if err := e.source(p.Source); err != nil {
				return err
			}
		}
		if err := e.place(p); err != nil {
			return err
		}
	}
	return nil
}

// self is whether the device is there.
func (e *entities) self() error {
	return e.add(componentBinary, []string{"connection"}, object{
		"name": "Connection", "device_class": "connectivity", "entity_category": "diagnostic",
		"state_topic": e.topics.available(), "value_template": deviceOn, "payload_on": "ON", "payload_off": "OFF",
		"device": object{"identifiers": []string{e.node}, "name": e.device, "manufacturer": "Sightline", "model": "Device"},
	})
}

// source is whether a camera is there.
func (e *entities) source(name string) error {
	status, err := e.topics.status(&pipeline.Status{Source: name})
	if err != nil {
		return err
	}
	return e.add(componentBinary, []string{name, "connection"}, object{
		"name": "Connection", "device_class": "connectivity", "entity_category": "diagnostic",
		"state_topic": status, "value_template": sourceOn, "payload_on": "ON", "payload_off": "OFF", "json_attributes_topic": status,
		"availability_topic": e.topics.available(), "availability_template": deviceUp, "device": e.camera(name),
	})
}

// camera is the device that a source's entities belong to.
func (e *entities) camera(source string) object {
	return object{
		"identifiers": []string{e.node + "_" + short(source)}, "name": e.device + " " + source,
		"manufacturer": "Sightline", "model": "Camera", "via_device": e.node,
	}
}

// place is what a model sees, and its events.
func (e *entities) place(p sinks.Place) error {
	base, err := e.topics.place(place{p.Source, p.Stage, p.Region})
	if err != nil {
		return err
	}
	status, err := e.topics.status(&pipeline.Status{Source: p.Source})
	if err != nil {
		return err
	}
	there := []object{
		{"topic": e.topics.available(), "value_template": deviceUp},
		{"topic": status, "value_template": sourceUp},
	}
	name := strings.TrimSpace(p.Stage + " " + p.Region)
	sensor := object{
		"name": name, "icon": "mdi:eye", "state_topic": base + "/state", "value_template": className,
		"json_attributes_topic": base + "/state", "availability": there, "availability_mode": "all", "device": e.camera(p.Source),
	}
	if e.expire > 0 {
		sensor["expire_after"] = int(max(e.expire.Seconds(), 1))
	}
	if err := e.add(componentSensor, []string{p.Source, p.Stage, p.Region}, sensor); err != nil || !p.Events {
		return err
	}
	return e.add(componentEvent, []string{p.Source, p.Stage, p.Region}, object{
		"name": name + " events", "icon": "mdi:eye-check", "state_topic": e.topics.events(),
		"event_types":    []pipeline.EventType{pipeline.EventNew, pipeline.EventUpdate, pipeline.EventEnd},
		"value_template": fmt.Sprintf(eventType, literal(p.Source), literal(p.Stage), literal(p.Region)),
		"availability":   there[:1], "device": e.camera(p.Source),
	})
}

// add adds an entity; names are what it is told from others by.
func (e *entities) add(component string, names []string, payload object) error {
	var parts []string
	for _, name := range names {
		if name != "" {
			parts = append(parts, safe(name))
		}
	}
	id := strings.Join(append(parts, short(component+"\x00"+strings.Join(names, "\x00"))), "_")
	payload["unique_id"] = e.node + "_" + id
	payload["origin"] = object{"name": "Sightline"}
	payload["qos"] = e.qos
	text, err := json.Marshal(payload)
	switch {
	case err != nil:
		return err
	case len(text) > sinks.MaxMessage:
		return fmt.Errorf("what is told of %q has %d bytes, more than %d", names[0], len(text), sinks.MaxMessage)
	}
	e.entities = append(e.entities, entity{topic: e.topic(component, id), payload: text})
	return nil
}

func (d *discovery) topic(component, id string) string {
	return strings.Join([]string{d.prefix, component, d.node, id, "config"}, "/")
}

// subscriptions are the topics to listen to: what stands there of this device, and whether Home
// Assistant has come up. Its own topic for that stays when another prefix is chosen.
func (d *discovery) subscriptions() []string {
	list := []string{d.topic("+", "+")}
	if len(d.entities) > 0 {
		list = append(list, d.births()...)
	}
	return list
}

func (d *discovery) births() []string {
	return slices.Compact([]string{d.prefix + "/status", standardPrefix + "/status"})
}

// safeID is what Home Assistant takes as component, node and object.
var safeID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// stale tells whether a topic is one of this device that nothing wanted stands on.
func (d *discovery) stale(topic string) bool {
	rest, ok := strings.CutPrefix(topic, d.prefix+"/")
	levels := strings.Split(rest, "/")
	if !ok || len(levels) != 4 || levels[1] != d.node || levels[3] != "config" || !safeID.MatchString(levels[0]) || !safeID.MatchString(levels[2]) {
		return false
	}
	return !slices.ContainsFunc(d.entities, func(e entity) bool { return e.topic == topic })
}

// safe makes a readable part of an identifier of a name; short is what makes it unique.
func safe(name string) string {
	out := []byte(name[:min(len(name), 40)])
	for i, b := range out {
		if !safeID.Match([]byte{b}) {
			out[i] = '-'
		}
	}
	return string(out)
}

func short(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:6])
}

// literal writes a text as Jinja reads it.
func literal(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""` // cannot be: it is text
	}
	return string(quoted)
}
