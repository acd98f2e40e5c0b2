package pipeline

import "time"

// What an event message tells.
const (
	EventNew    EventType = "new"    // something is agreed to be there
	EventUpdate EventType = "update" // it is still there
	EventEnd    EventType = "end"    // it is gone
)

// EventType is one of the types above.
type EventType string

// Event tells of something that is there for a while in one source or region: a class that enough
// results in a row agree on. Its messages are one new, any number of updates, and one end.
type Event struct {
	Schema     int        `json:"schema"` // SchemaVersion
	ID         string     `json:"id"`     // of this message; unique, and the same when delivered twice
	Event      string     `json:"event"`  // of the event; the same in all its messages, and unique
	Type       EventType  `json:"type"`
	Device     string     `json:"device"`
	Source     string     `json:"source"`
	Region     string     `json:"region,omitempty"`
	Stage      string     `json:"stage"` // the classify stage, as named in the pipeline file
	Class      string     `json:"class"`
	ClassID    int        `json:"class_id"`        // index in the model's output
	Confidence float32    `json:"confidence"`      // of the newest result with this class
	Best       float32    `json:"best"`            // the highest confidence so far
	Results    uint64     `json:"results"`         // results with this class so far
	Started    time.Time  `json:"started"`         // capture time of the first of the results that agreed
	Last       time.Time  `json:"last"`            // capture time of the newest result with this class
	Ended      *time.Time `json:"ended,omitempty"` // capture time of what ended it; set by end alone
	Result     string     `json:"result"`          // id of the newest result with this class
	Model      ModelInfo  `json:"model"`
	Provider   string     `json:"provider"`
}
