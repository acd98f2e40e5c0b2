package pipeline

import "time"

// SchemaVersion is the version of the result's JSON form; sinks/result.schema.json describes it.
const SchemaVersion = 1

// ModelInfo says which model made a result, and on what.
type ModelInfo struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Digest   string `json:"digest"` // "sha256:" and the hexadecimal hash of the .onnx file
	Provider string `json:"-"`      // execution provider in use: cpu, cuda or tensorrt
	MaxBatch int    `json:"-"`      // most frames that one call of Classify takes, at least 1
}

// Prediction is one label with its confidence.
type Prediction struct {
	Class      string  `json:"class"`
	ClassID    int     `json:"class_id"`   // index in the model's output
	Confidence float32 `json:"confidence"` // 0…1 after softmax or sigmoid; the raw score when the card says activation none
}

// Answer is what a model said of one frame.
type Answer struct {
	Predictions []Prediction // best first, at most the card's top_k
	Top         int          // 0 when the best prediction reaches the threshold, -1 when none does
}

// Latency is where the time of one result went, in seconds.
type Latency struct {
	Receive float64 `json:"receive"` // captured → received; 0 when the capture time is the arrival
	Decode  float64 `json:"decode"`  // received → decoded and scaled
	Queue   float64 `json:"queue"`   // decoded → inference begins
	Infer   float64 `json:"infer"`   // inference: prepare, run, answer
	Publish float64 `json:"publish"` // inferred → handed to the upstream for the first time
}

// Result is what a model said of one frame, with where, when and by what it was made.
type Result struct {
	Schema        int          `json:"schema"` // SchemaVersion
	ID            string       `json:"id"`     // unique; the same when delivered twice
	Device        string       `json:"device"`
	Source        string       `json:"source"`
	Region        string       `json:"region,omitempty"`
	Stage         string       `json:"stage"`    // the classify stage, as named in the pipeline file
	Sequence      uint64       `json:"sequence"` // of the frame in its source
	Captured      time.Time    `json:"captured"`
	CaptureOrigin Origin       `json:"capture_origin"`
	Received      time.Time    `json:"received"`
	Decoded       time.Time    `json:"decoded"`
	Inferred      time.Time    `json:"inferred"`
	Published     time.Time    `json:"published"`
	Model         ModelInfo    `json:"model"`
	Provider      string       `json:"provider"`
	Top           *Prediction  `json:"top"` // null when no class reaches the threshold
	Predictions   []Prediction `json:"predictions"`
	Latency       Latency      `json:"latency"`
	Dropped       uint64       `json:"dropped"` // pictures of the source not analysed since the result before
}

// Message is what goes to a publish stage: exactly one field is set.
type Message struct {
	Result *Result
	Event  *Event
	Status *Status
}
