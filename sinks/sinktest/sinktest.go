// Package sinktest is what the tests of sinks share: messages to send, and the published schemas to
// hold what arrives against.
package sinktest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sightline/pipeline"
	"sightline/sinks"
)

// Device is the name of the device in messages.
const Device = "porch"

// Result returns the result of frame number sequence of a source, whose best class is class; an
// empty class means that none reached the threshold. Published is not set.
func Result(source string, sequence uint64, class string) *pipeline.Result {
	captured := time.Date(2026, 11, 22, 3, 4, 5, 6_000_000, time.UTC).Add(time.Duration(sequence) * 100 * time.Millisecond)
	r := &pipeline.Result{
		Schema: pipeline.SchemaVersion, ID: fmt.Sprintf("%s-%s-%d", Device, source, sequence),
		Device: Device, Source: source, Stage: "scene", Sequence: sequence,
		Captured: captured, CaptureOrigin: pipeline.OriginSenderReport,
		Received: captured.Add(20 * time.Millisecond), Decoded: captured.Add(23 * time.Millisecond),
		Inferred: captured.Add(30*time.Millisecond + 1),
		Model: pipeline.ModelInfo{
			Name: "scenes", Version: "3", Digest: "sha256:" + strings.Repeat("0123456789abcdef", 4), Provider: "cpu",
		},
		Provider: "cpu",
		Predictions: []pipeline.Prediction{
			{Class: "car", ClassID: 1, Confidence: 0.875},
			{Class: "person", ClassID: 2, Confidence: 0.1},
			{Class: "nothing", ClassID: 0, Confidence: 0.0000001},
		},
		Latency: pipeline.Latency{Receive: 0.02, Decode: 0.003, Queue: 0.0005, Infer: 0.0065},
	}
	if class != "" {
		r.Predictions[0].Class = class
		r.Top = &r.Predictions[0]
	}
	return r
}

// Message returns a result as Result makes it, as a message.
func Message(source string, sequence uint64, class string) pipeline.Message {
	return pipeline.Message{Result: Result(source, sequence, class)}
}

// Event returns message number n of an event in a source: the first is new, and the last, of type end,
// has ended.
func Event(source string, n int, t pipeline.EventType) *pipeline.Event {
	r := Result(source, uint64(n), "car")
	id := fmt.Sprintf("%s-%s-1-event", Device, source)
	e := &pipeline.Event{
		Schema: pipeline.SchemaVersion, ID: fmt.Sprintf("%s-%d", id, n), Event: id, Type: t, Device: Device, Source: source,
		Stage: r.Stage, Class: "car", ClassID: 1, Confidence: 0.75, Best: 0.875, Results: uint64(3 + n),
		Started: r.Captured.Add(-time.Second), Last: r.Captured, Result: r.ID, Model: r.Model, Provider: r.Provider,
	}
	if t == pipeline.EventEnd {
		ended := r.Captured.Add(2 * time.Second)
		e.Ended = &ended
	}
	return e
}

// Results wraps results as messages.
func Results(list ...*pipeline.Result) []pipeline.Message {
	messages := make([]pipeline.Message, len(list))
	for i, r := range list {
		messages[i] = pipeline.Message{Result: r}
	}
	return messages
}

// Schemas validates messages.
type Schemas struct{ Result, Status, State, Event *jsonschema.Schema }

// Compile compiles the published schemas, with formats asserted.
func Compile(t testing.TB) Schemas {
	t.Helper()
	compile := func(name, text string) *jsonschema.Schema {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatalf("schema of %s: %v", name, err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource(name, document); err != nil {
			t.Fatalf("schema of %s: %v", name, err)
		}
		return c.MustCompile(name)
	}
	return Schemas{
		Result: compile("result.json", sinks.ResultSchema()),
		Status: compile("status.json", sinks.StatusSchema()),
		State:  compile("state.json", sinks.StateSchema()),
		Event:  compile("event.json", sinks.EventSchema()),
	}
}

// Check holds one message against a schema.
func Check(t testing.TB, schema *jsonschema.Schema, message []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(message)))
	if err != nil {
		t.Fatalf("message is not JSON: %v\n%s", err, message)
	}
	if err := schema.Validate(value); err != nil {
		t.Fatalf("message does not fit the schema: %v\n%s", err, message)
	}
}

// Decode holds a message against the schema of results and returns the result.
func (s Schemas) Decode(t testing.TB, message []byte) *pipeline.Result {
	t.Helper()
	Check(t, s.Result, message)
	r := &pipeline.Result{}
	if err := json.Unmarshal(message, r); err != nil {
		t.Fatalf("decode %s: %v", message, err)
	}
	return r
}
