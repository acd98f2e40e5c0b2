package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"sightline/pipeline"
)

// The records of the control stream.
const (
	recConfigure recordType = 64 // supervisor → stage, first and once a wire
	recStop      recordType = 65 // supervisor → stage
	recBye       recordType = 66 // supervisor → stage: the exit was heard
	recBeat      recordType = 67 // stage → supervisor
	recStats     recordType = 68 // stage → supervisor
	recLog       recordType = 69 // stage → supervisor
	recReport    recordType = 70 // stage → supervisor: a status
	recExit      recordType = 71 // stage → supervisor, last
	recWant      recordType = 72 // stage → supervisor: a frames link has no direct connection
	recLink      recordType = 73 // supervisor → stage: it has; the connection comes with it
)

// stageLimit bounds what a stage says, supervisorLimit what a supervisor says.
func stageLimit(t recordType) int {
	switch t {
	case recBeat, recLog, recReport, recExit, recWant:
		return MaxRecord
	case recStats:
		return MaxStats
	}
	return 0
}

func supervisorLimit(t recordType) int {
	switch t {
	case recConfigure:
		return MaxConfiguration
	case recStop, recBye, recLink:
		return MaxRecord
	}
	return 0
}

// Configuration is all that a stage is told before it works.
type Configuration struct {
	Device string
	Stage  string
	// Section is the stage's own section of the pipeline file, in a form that the stage's program
	// and the supervisor agree on.
	Section json.RawMessage
	Secrets map[string]pipeline.Secret // by the name that the section refers to them by
	Grants  []Grant                    // what the stage may dial
	Links   Links
}

// Links names the links of a stage. A frames link into a classify stage is named by its source, one
// out of a capture stage by the classify stage that it leads to. A publish stage has one results
// link, a classify stage one for all that it leads to.
type Links struct {
	FramesIn   []string `json:"frames_in,omitempty"`
	FramesOut  []string `json:"frames_out,omitempty"`
	ResultsIn  []string `json:"results_in,omitempty"`
	ResultsOut []string `json:"results_out,omitempty"`
}

// configureBody is a Configuration on the wire: the one place where secrets are written out.
type configureBody struct {
	Device  string            `json:"device"`
	Stage   string            `json:"stage"`
	Section json.RawMessage   `json:"section,omitempty"`
	Secrets map[string]string `json:"secrets,omitempty"`
	Grants  []Grant           `json:"grants,omitempty"`
	Links   Links             `json:"links"`
}

func encodeConfiguration(c Configuration) ([]byte, error) {
	b := configureBody{Device: c.Device, Stage: c.Stage, Section: c.Section, Grants: c.Grants, Links: c.Links}
	if len(c.Secrets) > 0 {
		b.Secrets = make(map[string]string, len(c.Secrets))
		for name, secret := range c.Secrets {
			b.Secrets[name] = secret.Reveal()
		}
	}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration of %q: %w", c.Stage, err)
	}
	if len(body) > MaxConfiguration {
		return nil, fmt.Errorf("configuration of %q: %d bytes, at most %d: %w", c.Stage, len(body), MaxConfiguration, ErrTooLarge)
	}
	return body, nil
}

func decodeConfiguration(body []byte) (Configuration, error) {
	var b configureBody
	if err := json.Unmarshal(body, &b); err != nil {
		// Not the decoder's own words: they may quote a secret.
		return Configuration{}, fmt.Errorf("configuration: %w", ErrMalformed)
	}
	c := Configuration{Device: b.Device, Stage: b.Stage, Section: b.Section, Grants: b.Grants, Links: b.Links}
	if len(b.Secrets) > 0 {
		c.Secrets = make(map[string]pipeline.Secret, len(b.Secrets))
		for name, secret := range b.Secrets {
			c.Secrets[name] = pipeline.NewSecret(secret)
		}
	}
	return c, nil
}

type stopBody struct {
	Grace float64 `json:"grace"` // seconds
}

// Heartbeat is what a stage says of itself once a second.
type Heartbeat struct {
	Number      uint64  `json:"number"`       // counted from 1 since the stage began
	ClockOffset float64 `json:"clock_offset"` // seconds that are added to the stage's clock to have the host's
	ClockError  float64 `json:"clock_error"`  // seconds that the result may be wrong by
}

// Exit is how a stage ended.
type Exit struct {
	Reason    string `json:"reason,omitempty"` // empty: it was asked to, and is done
	Permanent bool   `json:"permanent,omitempty"`
}

// Err returns the exit as the error that the stage's Run returned, nil when it ended well.
func (e *Exit) Err() error {
	switch {
	case e.Reason == "":
		return nil
	case e.Permanent:
		return pipeline.Permanentf("%s", e.Reason)
	}
	return fmt.Errorf("%s", e.Reason)
}

func decodeBeat(body []byte) (h Heartbeat, err error) {
	if err := decodeJSON(body, &h); err != nil {
		return h, fmt.Errorf("heartbeat: %w", err)
	}
	if most := clockLimit.Seconds(); math.Abs(h.ClockOffset) > most || h.ClockError < 0 || h.ClockError > most {
		return h, fmt.Errorf("heartbeat with a clock %vs off: %w", h.ClockOffset, ErrMalformed)
	}
	return h, nil
}

func decodeExit(body []byte) (e Exit, err error) {
	if err := decodeJSON(body, &e); err != nil {
		return e, fmt.Errorf("exit: %w", err)
	}
	e.Reason = clip(e.Reason, maxText)
	return e, nil
}

func decodeStop(body []byte) (time.Duration, error) {
	var s stopBody
	if err := decodeJSON(body, &s); err != nil {
		return 0, fmt.Errorf("stop: %w", err)
	}
	if !(s.Grace >= 0 && s.Grace <= 3600) {
		return 0, fmt.Errorf("stop within %v s: %w", s.Grace, ErrMalformed)
	}
	return time.Duration(s.Grace * float64(time.Second)), nil
}

func decodeStatus(body []byte) (s pipeline.Status, err error) {
	if err := decodeJSON(body, &s); err != nil {
		return s, fmt.Errorf("status: %w", err)
	}
	return s, checkStatus(&s)
}

// decodeStats reads a snapshot sample by sample, so that a list of nothings does not fill the memory.
func decodeStats(body []byte) ([]pipeline.Sample, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, fmt.Errorf("statistics are not a list: %w", ErrMalformed)
	}
	var samples []pipeline.Sample
	for d.More() {
		if len(samples) == maxSeries {
			return nil, fmt.Errorf("more than %d series of statistics: %w", maxSeries, ErrTooLarge)
		}
		var s pipeline.Sample
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("statistics: %w: %w", ErrMalformed, err)
		}
		if err := checkSample(&s); err != nil {
			return nil, err
		}
		samples = append(samples, s)
	}
	if _, err := d.Token(); err != nil || len(bytes.TrimSpace(body[d.InputOffset():])) > 0 {
		return nil, fmt.Errorf("statistics have no end: %w", ErrMalformed)
	}
	return samples, nil
}

func checkSample(s *pipeline.Sample) error {
	known := false
	for i := range pipeline.Metrics {
		known = known || pipeline.Metrics[i].Name == s.Name && pipeline.Metrics[i].Kind == s.Kind
	}
	counts := 0
	if s.Kind == pipeline.KindHistogram {
		counts = len(pipeline.Buckets) + 1
	}
	if !known || len(s.Labels)%2 != 0 || len(s.Labels) > maxLabels || len(s.Counts) != counts {
		return fmt.Errorf("series %q, %s, %d labels, %d counts: %w", clip(s.Name, maxName), clip(string(s.Kind), maxName),
			len(s.Labels), len(s.Counts), ErrMalformed)
	}
	for _, v := range s.Labels {
		if err := checkText("label of "+s.Name, v, maxSource); err != nil {
			return err
		}
	}
	if s.Kind != pipeline.KindGauge && (s.Value < 0 || s.Sum < 0) {
		return fmt.Errorf("series %q is negative: %w", s.Name, ErrMalformed)
	}
	return nil
}
