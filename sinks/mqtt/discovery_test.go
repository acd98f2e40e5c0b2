package mqtt_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/sinktest"
)

// home is Home Assistant's side: a client that sees its topics and can publish.
type home struct {
	*log
	client paho.Client
}

func (p *peer) home(t *testing.T) *home {
	t.Helper()
	h := &home{log: newLog(), client: p.connect(t)}
	take := func(_ paho.Client, m paho.Message) { h.add(arrival{m.Topic(), string(m.Payload()), m.Retained()}) }
	await(t, h.client.Subscribe("homeassistant/#", 1, take))
	return h
}

func (h *home) publish(t *testing.T, topic, payload string, retained bool) {
	t.Helper()
	await(t, h.client.Publish(topic, 1, retained, payload))
}

// standing is what stands on the topics, by topic.
func (h *home) standing() map[string]string {
	there := map[string]string{}
	for _, a := range h.of("/config") {
		there[a.topic] = a.payload
		if a.payload == "" {
			delete(there, a.topic)
		}
	}
	return there
}

// names are those of what stands there, "<device> <name>".
func (h *home) names(t *testing.T) (list []string) {
	for _, payload := range h.standing() {
		var e struct {
			Name   string
			Device struct{ Name string }
		}
		if err := json.Unmarshal([]byte(payload), &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Device.Name+": "+e.Name)
	}
	slices.Sort(list)
	return list
}

func (h *home) awaits(t *testing.T, want ...string) {
	t.Helper()
	h.await(t, fmt.Sprint(want), func() bool { return slices.Equal(h.names(t), want) })
}

func found(url string, places ...sinks.Place) sinks.MQTT {
	return sinks.MQTT{URL: url, QoS: 1, Discovery: sinks.Discovery{Enabled: true, Places: places}}
}

var (
	gate  = sinks.Place{Source: "gate", Stage: "scene", Events: true}
	left  = sinks.Place{Source: "yard", Stage: "scene", Region: "left"}
	right = sinks.Place{Source: "yard", Stage: "scene", Region: "right"}
)

func TestHomeAssistantFindsWhatThereIs(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(found(p.url, gate, left, right))
		b.open(t)
		b.deliver(t, status("gate", pipeline.StateOnline), result("gate", 1, "car"))
		p.settle(t)
		h := p.home(t) // comes later: all of it is retained
		all := []string{"porch gate: Connection", "porch gate: scene", "porch gate: scene events", "porch yard: Connection",
			"porch yard: scene left", "porch yard: scene right", "porch: Connection"}
		h.awaits(t, all...)
		for _, a := range h.of("/config") {
			if !a.retained {
				t.Errorf("%s is not retained", a.topic)
			}
		}
		before := len(h.of("/config"))
		var said time.Time
		h.await(t, "all of it again", func() bool {
			if time.Since(said) > 10*time.Second { // the embedded broker loses some when the machine is busy
				h.publish(t, "homeassistant/status", "online", false)
				said = time.Now()
			}
			return len(h.of("/config")) >= before+len(all)
		})
		h.publish(t, "homeassistant/status", "offline", false)
		b.network.cut()
		p.kill()
		p.start(t) // it has forgotten everything
		again := p.home(t)
		b.network.mend()
		again.awaits(t, all...)
	})
}

// The program is started with a changed file: what is not in it any more is removed, and nothing else.
func TestWhatIsGoneIsRemovedAfterARestart(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		h := p.home(t)
		others := []string{
			"homeassistant/sensor/sightline_porch_000000000000/gate_scene/config", "homeassistant/sensor/gate_scene/config",
			"homeassistant/switch/other/x/config",
		}
		for _, topic := range others {
			h.publish(t, topic, `{"name":"x","device":{"name":"other"}}`, true)
		}
		first := newBench(found(p.url, gate, left, right))
		first.open(t)
		h.await(t, "all", func() bool { return len(h.standing()) == 7+len(others) })
		first.close(t)
		second := newBench(found(p.url, left))
		second.open(t)
		h.awaits(t, "other: x", "other: x", "other: x", "porch yard: Connection", "porch yard: scene left", "porch: Connection")
		second.close(t)
		off := newBench(sinks.MQTT{URL: p.url, QoS: 1, Discovery: sinks.Discovery{Remove: true}})
		off.open(t)
		h.awaits(t, "other: x", "other: x", "other: x")
		off.deliver(t, result("gate", 1, "car"))
		p.settle(t)
		late := p.home(t)
		late.awaits(t, "other: x", "other: x", "other: x")
	})
}

func TestWithoutDiscoveryNothingIsSaidOrListenedTo(t *testing.T) {
	p := mosquitto(t, wanted{})
	h := p.home(t)
	b := newBench(sinks.MQTT{URL: p.url, QoS: 1, Discovery: sinks.Discovery{Places: []sinks.Place{gate}}})
	b.open(t)
	b.deliver(t, result("gate", 1, "car"))
	h.publish(t, "homeassistant/status", "online", false)
	b.deliver(t, result("gate", 2, "car"))
	if n := len(h.of("/config")); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// A broker that floods what is listened to holds up nothing.
// Against mosquitto alone: the embedded broker sometimes drops parts of such a flood when it is busy.
func TestMuchThatIsHeardDoesNoHarm(t *testing.T) {
	p := mosquitto(t, wanted{})
	h := p.home(t)
	b := newBench(found(p.url, gate))
	b.open(t)
	h.await(t, "all", func() bool { return len(h.standing()) == 4 })
	var topic string
	for topic = range maps.Keys(h.standing()) {
		break
	}
	levels := strings.Split(topic, "/")
	large := strings.Repeat("x", 200_000)
	began := time.Now()
	for i := range 50 {
		levels[3] = fmt.Sprint("stale-", i)
		h.publish(t, strings.Join(levels, "/"), large, true)
		h.publish(t, "homeassistant/status", "online", false)
		h.publish(t, "homeassistant/status", large, false)
		b.deliver(t, result("gate", uint64(i+1), "car"))
	}
	// Brokers may send the two to others in another order, so what stands in the end counts.
	h.await(t, "removals", func() bool {
		removed := map[string]bool{}
		for _, a := range h.of("/config") {
			if a.payload == "" {
				removed[a.topic] = true
			}
		}
		return len(removed) == 50
	})
	for until := began.Add(2 * patience); ; {
		late := p.home(t)
		late.publish(t, "homeassistant/marker", "x", false) // what is retained comes before it
		late.await(t, "what stands", func() bool { return len(late.of("/marker")) > 0 && len(late.standing()) >= 4 })
		if there := late.standing(); len(there) == 4 && there[topic] != "" {
			break
		} else if time.Now().After(until) {
			t.Fatalf("there stand %d", len(there))
		}
	}
	said := 0
	for _, a := range h.of("/config") {
		if a.topic == topic && a.payload != "" {
			said++
		}
	}
	if most := 3 + int(time.Since(began)/(5*time.Second)); said > most {
		t.Errorf("said %d times, want at most %d", said, most)
	}
	for _, s := range b.said.all() {
		if s.State == pipeline.StateOffline {
			t.Errorf("the connection broke: %s", s.Reason)
		}
	}
}

func TestNamesThatHomeAssistantCannotHaveAreMadeSafe(t *testing.T) {
	p := embedded(t, wanted{})
	h := p.home(t)
	odd := sinks.Place{Source: "gate.1 é\"'{{", Stage: strings.Repeat("long-", 50), Region: "a b", Events: true}
	b := newBench(found(p.url, odd, sinks.Place{Source: "gate.1", Stage: "a_b", Region: "c"}, sinks.Place{Source: "gate.1", Stage: "a", Region: "b_c"}))
	b.open(t)
	h.await(t, "all", func() bool { return len(h.standing()) == 7 })
	unique := map[string]bool{}
	for topic, payload := range h.standing() {
		checkEntity(t, topic, payload)
		unique[members(t, payload)["unique_id"].(string)] = true
	}
	if len(unique) != 7 {
		t.Errorf("identifiers %v", unique)
	}
	for name, place := range map[string]sinks.Place{
		"a source with a slash": {Source: "a/b", Stage: "s"}, "a stage with a wildcard": {Source: "a", Stage: "+"}, "a region with NUL": {Source: "a", Stage: "s", Region: "\x00"},
	} {
		bad := newBench(found(p.url, place))
		if err := bad.sink.Open(t.Context(), bad.env()); !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "cannot be a topic level") {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := newBench(sinks.MQTT{URL: p.url, Discovery: sinks.Discovery{Enabled: true, Prefix: "a/#"}})
	if err := bad.sink.Open(t.Context(), bad.env()); !pipeline.IsPermanent(err) {
		t.Errorf("a prefix with a wildcard: %v", err)
	}
}

// What Home Assistant takes (its documentation of MQTT discovery, and of the three components), of that
// which is used here. It ignores keys that it does not know, so that a wrong one would never be noticed.
var (
	common = []string{"name", "icon", "device", "origin", "unique_id", "qos", "state_topic", "value_template", "json_attributes_topic",
		"availability", "availability_mode", "availability_topic", "availability_template", "device_class", "entity_category"}
	known = map[string][]string{
		"binary_sensor": append([]string{"payload_on", "payload_off", "expire_after"}, common...),
		"sensor":        append([]string{"expire_after"}, common...),
		"event":         append([]string{"event_types"}, common...),
	}
	discoveryTopic = regexp.MustCompile(`^homeassistant/(\w+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)/config$`)
)

func members(t *testing.T, payload string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(payload), &m); err != nil {
		t.Fatalf("%v: %s", err, payload)
	}
	return m
}

func checkEntity(t *testing.T, topic, payload string) {
	t.Helper()
	match := discoveryTopic.FindStringSubmatch(topic)
	if match == nil || len(topic) > 300 {
		t.Fatalf("topic %s", topic)
	}
	m := members(t, payload)
	for key := range m {
		if !slices.Contains(known[match[1]], key) {
			t.Errorf("%s: %s is not known to Home Assistant", topic, key)
		}
	}
	device, _ := m["device"].(map[string]any)
	origin, _ := m["origin"].(map[string]any)
	if m["name"] == nil || m["unique_id"] != match[2]+"_"+match[3] || m["state_topic"] == nil || device["identifiers"] == nil || origin["name"] == nil {
		t.Errorf("%s lacks something: %s", topic, payload)
	}
	if m["availability"] != nil && m["availability_topic"] != nil {
		t.Errorf("%s has both availability and availability_topic", topic)
	}
	if match[1] == "event" && fmt.Sprint(m["event_types"]) != "[new update end]" {
		t.Errorf("%s: types %v", topic, m["event_types"])
	}
	for _, key := range []string{"state_topic", "json_attributes_topic", "availability_topic"} {
		if text, ok := m[key].(string); ok && (!strings.HasPrefix(text, "sightline/porch/") || strings.ContainsAny(text, "+#\x00")) {
			t.Errorf("%s: %s is %q", topic, key, text)
		}
	}
}

func TestEntitiesAreWhatHomeAssistantTakes(t *testing.T) {
	p := embedded(t, wanted{})
	h := p.home(t)
	c := found(p.url, gate, left)
	c.Discovery.ExpireAfter = 90 * time.Second
	b := newBench(c)
	p.subscribe(t, b.log)
	b.open(t)
	b.deliver(t, status("gate", pipeline.StateOnline), result("gate", 1, "car"), pipeline.Message{Event: sinktest.Event("gate", 1, pipeline.EventNew)})
	h.await(t, "all", func() bool { return len(h.standing()) == 6 })
	b.log.await(t, "the event", func() bool { return len(b.log.of("/events")) == 1 })
	published := map[string]bool{}
	for _, a := range b.log.of("") {
		published[a.topic] = true
	}
	for topic, payload := range h.standing() {
		checkEntity(t, topic, payload)
		m := members(t, payload)
		if expires := m["expire_after"]; (expires == 90.0) != strings.Contains(topic, "/sensor/") {
			t.Errorf("%s: expires after %v", topic, expires)
		}
		if name := m["device"].(map[string]any)["name"]; name == "porch gate" && !published[m["state_topic"].(string)] {
			t.Errorf("%s: nothing is published on %v", topic, m["state_topic"])
		}
	}
}

// What Home Assistant makes of our messages by the templates.
func TestTemplatesReadOurMessages(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err == nil {
		err = exec.Command(python, "-c", "import jinja2").Run()
	}
	if err != nil {
		t.Skipf("python3 with jinja2, which Home Assistant's templates are, is not installed: %v", err)
	}
	p := embedded(t, wanted{})
	h := p.home(t)
	odd := sinks.Place{Source: `a"b{{ 1 }}<é>`, Stage: "scene", Region: "it's", Events: true}
	b := newBench(found(p.url, gate, odd))
	b.open(t)
	h.await(t, "all", func() bool { return len(h.standing()) == 7 })
	template := func(part, key string) string {
		for topic, payload := range h.standing() {
			if m := members(t, payload); strings.Contains(topic, part) {
				if list, ok := m["availability"].([]any); ok && key == "camera" {
					return list[1].(map[string]any)["value_template"].(string)
				}
				if text, ok := m[key].(string); ok {
					return text
				}
			}
		}
		t.Fatalf("no %s of %s", key, part)
		return ""
	}
	event, oddEvent := sinktest.Event("gate", 1, pipeline.EventEnd), sinktest.Event(odd.Source, 1, pipeline.EventNew)
	oddEvent.Region = odd.Region
	encode := func(e *pipeline.Event) string {
		b, err := sinks.AppendEvent(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	type rendered struct{ Template, Value, Want string }
	cases := []rendered{
		{template("/sensor/", "value_template"), `{"class":"car","class_id":1}`, "car"},
		{template("/sensor/", "value_template"), `{"class":null,"class_id":null}`, "none"},
		{template("/sensor/", "value_template"), `{"class":"` + strings.Repeat("x", 300) + `"}`, strings.Repeat("x", 255)},
		{template("/sensor/", "camera"), `{"state":"online"}`, "online"},
		{template("/sensor/", "camera"), `{"state":"stalled"}`, "offline"},
		{template("gate_connection", "value_template"), `{"state":"online"}`, "ON"},
		{template("gate_connection", "value_template"), `{"state":"starting"}`, "OFF"},
		{template("gate_connection", "availability_template"), `online`, "online"},
		{template("gate_connection", "availability_template"), `stopped`, "offline"},
		{template("/connection_", "value_template"), `online`, "ON"},
		{template("/connection_", "value_template"), `offline`, "OFF"},
	}
	eventTemplate := func(part string) string {
		for topic, payload := range h.standing() {
			if strings.Contains(topic, "/event/") && strings.Contains(topic, part) {
				return members(t, payload)["value_template"].(string)
			}
		}
		t.Fatalf("no event of %s", part)
		return ""
	}
	cases = append(cases, rendered{eventTemplate("/gate_"), encode(event), "end"}, rendered{eventTemplate("/gate_"), encode(oddEvent), ""},
		rendered{eventTemplate("/a-b"), encode(oddEvent), "new"}, rendered{eventTemplate("/a-b"), encode(event), ""})
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	const program = `
import json, sys, jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
env = ImmutableSandboxedEnvironment()
out = []
for c in json.load(sys.stdin):
    try: value_json = json.loads(c["Value"])
    except ValueError: value_json = None
    out.append(env.from_string(c["Template"]).render(value=c["Value"], value_json=value_json))
print(json.dumps(out))`
	command := exec.CommandContext(t.Context(), python, "-c", program)
	command.Stdin = bytes.NewReader(input)
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var got []string
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if strings.HasPrefix(got[i], "{") { // an event: Home Assistant reads event_type in it
			got[i], _ = members(t, got[i])["event_type"].(string)
		}
		if got[i] != c.Want {
			t.Errorf("%s of %s gives %q, want %q", c.Template, c.Value, got[i], c.Want)
		}
	}
}
