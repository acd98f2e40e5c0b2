package configs_test

import (
	"slices"
	"strings"
	"testing"

	"sightline/configs"
	"sightline/sinks"
)

const twoModels = `version: 1
sources:
  gate: {rtsp: {url: "rtsp://192.0.2.10/a"}}
  yard: {rtsp: {url: "rtsp://192.0.2.11/a"}}
models:
  scene: {inputs: [gate, yard], model: gate, events: {}}
  bays: {inputs: [yard], model: gate, regions: {two: [0.5, 0, 1, 1], one: [0, 0, 0.5, 1]}}
  other: {inputs: [gate], model: gate}
sinks:
  home: {inputs: [scene, bays], mqtt: {url: "mqtt://192.0.2.20", discovery: {DISCOVERY}}}
  lines: {inputs: [other], jsonl: {path: "-"}}
`

func TestWhatIsToBeFoundIsFilledIn(t *testing.T) {
	all := []sinks.Place{
		{Source: "gate", Stage: "scene", Events: true}, {Source: "yard", Stage: "scene", Events: true},
		{Source: "yard", Stage: "bays", Region: "one"}, {Source: "yard", Stage: "bays", Region: "two"},
	}
	for written, want := range map[string]sinks.Discovery{
		"":               {Prefix: "homeassistant"},
		"enabled: false": {Prefix: "homeassistant", Remove: true},
		"enabled: true":  {Prefix: "homeassistant", Enabled: true, Places: all},
	} {
		text := strings.Replace(twoModels, "DISCOVERY", written, 1)
		p, err := configs.Parse("f.yaml", []byte(text), configs.Options{BuiltIn: []string{"gate"}})
		if err != nil {
			t.Fatal(err)
		}
		d := p.Sinks["home"].MQTT.Discovery
		if d.Enabled != want.Enabled || d.Remove != want.Remove || d.Prefix != want.Prefix || !slices.Equal(d.Places, want.Places) {
			t.Errorf("%q: %+v, want %+v", written, d, want)
		}
	}
}
