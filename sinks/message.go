package sinks

import (
	"time"

	"sightline/pipeline"
)

// MaxMessage is the largest size of one message in bytes. It keeps pictures from leaving the device
// as messages, however they might be disguised.
const MaxMessage = 64 << 10

// State is what one model sees now in one source or region of it.
type State struct {
	Device   string
	Source   string
	Region   string               // empty for the whole picture
	Stage    string               // the classify stage
	Top      *pipeline.Prediction // nil when no class reaches the threshold
	Captured time.Time            // of the newest result
	Since    time.Time            // capture time of the first result with this class
}

// AppendResult appends the JSON form of a result, as ResultSchema describes it, to b. A result that
// has no such form (too large, a number that is none) gives b as it was and an error marked
// pipeline.Permanent.
func AppendResult(b []byte, r *pipeline.Result) ([]byte, error) {
	e := encoder{b: b}
	e.open()
	e.integer("schema", int64(r.Schema))
	e.text("id", r.ID)
	e.text("device", r.Device)
	e.text("source", r.Source)
	e.optional("region", r.Region)
	e.text("stage", r.Stage)
	e.count("sequence", r.Sequence)
	e.time("captured", r.Captured)
	e.text("capture_origin", string(r.CaptureOrigin))
	e.time("received", r.Received)
	e.time("decoded", r.Decoded)
	e.time("inferred", r.Inferred)
	e.time("published", r.Published)
	e.model(&r.Model)
	e.text("provider", r.Provider)
	e.key("top")
	e.prediction(r.Top)
	e.predictions(r.Predictions)
	e.latency(&r.Latency)
	e.count("dropped", r.Dropped)
	e.shut()
	return e.end(len(b), "result", r.ID)
}

// AppendStatus appends the JSON form of a status of a device, as StatusSchema describes it, to b.
// Errors are as those of AppendResult.
func AppendStatus(b []byte, device string, s *pipeline.Status) ([]byte, error) {
	e := encoder{b: b}
	e.open()
	e.integer("schema", pipeline.SchemaVersion)
	e.text("device", device)
	e.text("stage", s.Stage)
	e.optional("source", s.Source)
	e.text("state", string(s.State))
	e.optional("reason", s.Reason)
	e.time("since", s.Since)
	e.optional("detail", s.Detail)
	e.shut()
	return e.end(len(b), "status of stage", s.Stage)
}

// AppendState appends the JSON form of a state, as StateSchema describes it, to b. Errors are as
// those of AppendResult.
func AppendState(b []byte, s *State) ([]byte, error) {
	e := encoder{b: b}
	e.open()
	e.integer("schema", pipeline.SchemaVersion)
	e.text("device", s.Device)
	e.text("source", s.Source)
	e.optional("region", s.Region)
	e.text("stage", s.Stage)
	if s.Top != nil {
		e.fields(s.Top)
	} else {
		e.null("class")
		e.null("class_id")
		e.null("confidence")
	}
	e.time("captured", s.Captured)
	e.time("since", s.Since)
	e.shut()
	return e.end(len(b), "state of source", s.Source)
}

// AppendEvent appends the JSON form of an event's message, as EventSchema describes it, to b. Errors are
// as those of AppendResult.
func AppendEvent(b []byte, v *pipeline.Event) ([]byte, error) {
	e := encoder{b: b}
	e.open()
	e.integer("schema", int64(v.Schema))
	e.text("id", v.ID)
	e.text("event", v.Event)
	e.text("type", string(v.Type))
	e.text("device", v.Device)
	e.text("source", v.Source)
	e.optional("region", v.Region)
	e.text("stage", v.Stage)
	e.text("class", v.Class)
	e.integer("class_id", int64(v.ClassID))
	e.number("confidence", float64(v.Confidence), 32)
	e.number("best", float64(v.Best), 32)
	e.count("results", v.Results)
	e.time("started", v.Started)
	e.time("last", v.Last)
	if v.Ended != nil {
		e.time("ended", *v.Ended)
	}
	e.text("result", v.Result)
	e.model(&v.Model)
	e.text("provider", v.Provider)
	e.shut()
	return e.end(len(b), "event", v.ID)
}

// AppendMessage appends the JSON form of a result or an event to b, and tells whether the message is one
// of them. Errors are as those of AppendResult.
func AppendMessage(b []byte, m *pipeline.Message) (out []byte, ok bool, err error) {
	switch {
	case m.Result != nil:
		out, err = AppendResult(b, m.Result)
	case m.Event != nil:
		out, err = AppendEvent(b, m.Event)
	default:
		return b, false, nil
	}
	return out, true, err
}
