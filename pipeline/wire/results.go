package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sightline/pipeline"
)

// The records of a results link.
const (
	recResult recordType = 32 // producer → consumer: number (8), then JSON
	recStatus recordType = 33 // the same, with a status
	recAck    recordType = 34 // consumer → producer: all up to this number (8) are taken
	recEvent  recordType = 35 // producer → consumer: as a result, with an event

	numberSize = 8
)

func resultLimit(t recordType) int {
	if t == recResult || t == recStatus || t == recEvent {
		return numberSize + MaxResult
	}
	return 0
}

func ackLimit(t recordType) int {
	if t == recAck {
		return numberSize
	}
	return 0
}

// encodeMessage writes a message as JSON, its times being the host's.
func encodeMessage(m pipeline.Message, clock *Clock) (t recordType, body []byte, err error) {
	switch {
	case m.Result != nil && m.Status == nil && m.Event == nil:
		t = recResult
		r := *m.Result
		convertResult(&r, clock.ToHost)
		body, err = encodeJSON(&r, checkResult)
	case m.Event != nil && m.Status == nil && m.Result == nil:
		t = recEvent
		body, err = encodeJSON(m.Event, checkEvent)
	case m.Status != nil && m.Result == nil && m.Event == nil:
		t = recStatus
		st := *m.Status
		st.Since = clock.ToHost(st.Since)
		st.Reason, st.Detail = clip(pipeline.RedactText(st.Reason), maxText), clip(pipeline.RedactText(st.Detail), maxText)
		body, err = encodeJSON(&st, checkStatus)
	default:
		err = fmt.Errorf("a message is a result, an event or a status: %w", ErrMalformed)
	}
	if err == nil && len(body) > MaxResult {
		err = fmt.Errorf("%d bytes, at most %d: %w", len(body), MaxResult, ErrTooLarge)
	}
	return t, body, err
}

func encodeJSON[T any](v *T, check func(*T) error) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return body, check(v)
}

// decodeMessage reads a message strictly: its schema's fields and no others, each within its bounds.
func decodeMessage(t recordType, body []byte, clock *Clock) (m pipeline.Message, err error) {
	switch t {
	case recStatus:
		if m.Status, err = decodeStrictly("status", body, checkStatus); err == nil {
			m.Status.Since = clock.FromHost(m.Status.Since)
		}
	case recEvent:
		m.Event, err = decodeStrictly("event", body, checkEvent)
	default:
		if m.Result, err = decodeStrictly("result", body, checkResult); err == nil {
			r := m.Result
			r.Model.Provider = r.Provider
			convertResult(r, clock.FromHost)
			if i := topOf(r); i >= 0 {
				r.Top = &r.Predictions[i]
			}
		}
	}
	if err != nil {
		return pipeline.Message{}, err
	}
	return m, nil
}

func decodeStrictly[T any](what string, body []byte, check func(*T) error) (*T, error) {
	v := new(T)
	if err := decodeJSON(body, v); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return v, check(v)
}

// convertResult converts the times of a result; a capture time of the camera's clock stays.
func convertResult(r *pipeline.Result, convert func(time.Time) time.Time) {
	if r.CaptureOrigin != pipeline.OriginSenderReport {
		r.Captured = convert(r.Captured)
	}
	r.Received, r.Decoded, r.Inferred, r.Published = convert(r.Received), convert(r.Decoded), convert(r.Inferred), convert(r.Published)
}

// topOf finds the prediction that Top repeats.
func topOf(r *pipeline.Result) int {
	if r.Top == nil {
		return -1
	}
	return slices.Index(r.Predictions, *r.Top)
}

func checkResult(r *pipeline.Result) error {
	if r.Schema != pipeline.SchemaVersion {
		return fmt.Errorf("result of schema %d, not %d: %w", r.Schema, pipeline.SchemaVersion, ErrMalformed)
	}
	for _, f := range [...]struct{ what, text string }{
		{"id", r.ID}, {"device", r.Device}, {"source", r.Source}, {"region", r.Region}, {"stage", r.Stage},
		{"model's name", r.Model.Name}, {"model's version", r.Model.Version}, {"model's digest", r.Model.Digest}, {"provider", r.Provider},
	} {
		if err := checkText(f.what+" of a result", f.text, maxSource); err != nil {
			return err
		}
	}
	switch r.CaptureOrigin {
	case "", pipeline.OriginSenderReport, pipeline.OriginArrival:
	default:
		return fmt.Errorf("result of capture origin %q: %w", clip(string(r.CaptureOrigin), maxName), ErrMalformed)
	}
	for _, v := range [...]float64{r.Latency.Receive, r.Latency.Decode, r.Latency.Queue, r.Latency.Infer, r.Latency.Publish} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("result with latency %v: %w", v, ErrMalformed)
		}
	}
	return checkPredictions(r)
}

func checkPredictions(r *pipeline.Result) error {
	if len(r.Predictions) > maxPredictions {
		return fmt.Errorf("result with %d predictions, at most %d: %w", len(r.Predictions), maxPredictions, ErrTooLarge)
	}
	for i := range r.Predictions {
		p := &r.Predictions[i]
		if err := checkText("class of a prediction", p.Class, maxSource); err != nil {
			return err
		}
		if c := float64(p.Confidence); math.IsNaN(c) || math.IsInf(c, 0) || p.ClassID < 0 {
			return fmt.Errorf("prediction of class %d with confidence %v: %w", p.ClassID, c, ErrMalformed)
		}
	}
	if r.Top != nil && topOf(r) < 0 {
		return fmt.Errorf("result whose top is none of its predictions: %w", ErrMalformed)
	}
	return nil
}

// checkEvent says what is wrong with an event. Its times are those of capture.
func checkEvent(e *pipeline.Event) error {
	if e.Schema != pipeline.SchemaVersion {
		return fmt.Errorf("event of schema %d, not %d: %w", e.Schema, pipeline.SchemaVersion, ErrMalformed)
	}
	switch e.Type {
	case pipeline.EventNew, pipeline.EventUpdate, pipeline.EventEnd:
	default:
		return fmt.Errorf("event of type %q: %w", clip(string(e.Type), maxName), ErrMalformed)
	}
	for _, f := range [...]struct{ what, text string }{
		{"id", e.ID}, {"event", e.Event}, {"device", e.Device}, {"source", e.Source}, {"region", e.Region}, {"stage", e.Stage}, {"class", e.Class},
		{"result", e.Result}, {"model's name", e.Model.Name}, {"model's version", e.Model.Version}, {"model's digest", e.Model.Digest}, {"provider", e.Provider},
	} {
		if err := checkText(f.what+" of an event", f.text, maxSource); err != nil {
			return err
		}
	}
	for _, c := range [...]float32{e.Confidence, e.Best} {
		if c := float64(c); math.IsNaN(c) || math.IsInf(c, 0) {
			return fmt.Errorf("event with confidence %v: %w", c, ErrMalformed)
		}
	}
	if e.ClassID < 0 {
		return fmt.Errorf("event of class %d: %w", e.ClassID, ErrMalformed)
	}
	return nil
}

var states = [...]pipeline.State{pipeline.StateStarting, pipeline.StateOnline, pipeline.StateStalled, pipeline.StateOffline, pipeline.StateStopped}

func checkStatus(s *pipeline.Status) error {
	if index(states[:], s.State) < 0 {
		return fmt.Errorf("status %q: %w", clip(string(s.State), maxName), ErrMalformed)
	}
	for _, f := range [...]struct {
		what, text string
		most       int
	}{{"stage", s.Stage, maxName}, {"source", s.Source, maxName}, {"reason", s.Reason, maxText}, {"detail", s.Detail, maxText}} {
		if err := checkText(f.what+" of a status", strings.ReplaceAll(f.text, "\n", " "), f.most); err != nil {
			return err
		}
	}
	return nil
}
