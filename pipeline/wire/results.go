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
	recAck    recordType = 34 // consumer → producer: all up to this number (8) arrived

	numberSize = 8
)

func resultLimit(t recordType) int {
	if t == recResult || t == recStatus {
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

// encodeMessage writes a result or status as JSON, its times being the host's.
func encodeMessage(m pipeline.Message, clock *Clock) (recordType, []byte, error) {
	var t recordType
	var body []byte
	var err error
	switch {
	case m.Result != nil && m.Status == nil:
		t = recResult
		r := *m.Result
		convertResult(&r, clock.ToHost)
		if body, err = json.Marshal(&r); err == nil {
			err = checkResult(&r)
		}
	case m.Status != nil && m.Result == nil:
		t = recStatus
		st := *m.Status
		st.Since = clock.ToHost(st.Since)
		st.Reason, st.Detail = clip(pipeline.RedactText(st.Reason), maxText), clip(pipeline.RedactText(st.Detail), maxText)
		if body, err = json.Marshal(&st); err == nil {
			err = checkStatus(&st)
		}
	default:
		err = fmt.Errorf("a message is either a result or a status: %w", ErrMalformed)
	}
	if err == nil && len(body) > MaxResult {
		err = fmt.Errorf("%d bytes, at most %d: %w", len(body), MaxResult, ErrTooLarge)
	}
	return t, body, err
}

// decodeMessage reads a result or status strictly: its schema's fields and no others, each within
// its bounds.
func decodeMessage(t recordType, body []byte, clock *Clock) (pipeline.Message, error) {
	if t == recStatus {
		var st pipeline.Status
		if err := decodeJSON(body, &st); err != nil {
			return pipeline.Message{}, fmt.Errorf("status: %w", err)
		}
		if err := checkStatus(&st); err != nil {
			return pipeline.Message{}, err
		}
		st.Since = clock.FromHost(st.Since)
		return pipeline.Message{Status: &st}, nil
	}
	var r pipeline.Result
	if err := decodeJSON(body, &r); err != nil {
		return pipeline.Message{}, fmt.Errorf("result: %w", err)
	}
	if err := checkResult(&r); err != nil {
		return pipeline.Message{}, err
	}
	r.Model.Provider = r.Provider
	convertResult(&r, clock.FromHost)
	if i := topOf(&r); i >= 0 {
		r.Top = &r.Predictions[i]
	}
	return pipeline.Message{Result: &r}, nil
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
