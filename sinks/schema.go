package sinks

import _ "embed" // for the schemas

var (
	//go:embed result.schema.json
	resultSchema string
	//go:embed status.schema.json
	statusSchema string
	//go:embed state.schema.json
	stateSchema string
	//go:embed event.schema.json
	eventSchema string
)

// ResultSchema returns the JSON Schema (draft 2020-12) of what AppendResult writes.
func ResultSchema() string { return resultSchema }

// StatusSchema returns the JSON Schema (draft 2020-12) of what AppendStatus writes.
func StatusSchema() string { return statusSchema }

// StateSchema returns the JSON Schema (draft 2020-12) of what AppendState writes.
func StateSchema() string { return stateSchema }

// EventSchema returns the JSON Schema (draft 2020-12) of what AppendEvent writes.
func EventSchema() string { return eventSchema }
