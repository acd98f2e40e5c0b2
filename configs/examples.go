package configs

import "embed"

//go:embed *.yaml
var examples embed.FS

//go:generate go test . -run IsCurrent -update

//go:embed pipeline.schema.json
var schema []byte

//go:embed demo.yaml
var demo []byte

// Demo returns the pipeline file that `sightline demo` runs. It takes the addresses of the
// simulated camera and of the broker, and the camera's password, from variables.
func Demo() []byte { return append([]byte(nil), demo...) }

// Examples returns the shipped pipeline files, at the top of the file system. They are also good to
// start from.
func Examples() embed.FS { return examples }

// JSONSchema returns the JSON Schema of pipeline files, by which editors complete and check them.
func JSONSchema() []byte { return append([]byte(nil), schema...) }
