// Package configs loads pipeline files: it reads them strictly, settles what the environment and the
// command line override, and checks that what they say makes sense, before anything is started. It
// also holds the shipped examples and the JSON Schema for editors.
//
// What is decided later wins: the file, then the environment, then flags. Nothing outside this
// package sees a file as it was written.
package configs

import (
	"time"

	"sightline/configs/strict"
	"sightline/models"
	"sightline/sinks"
	"sightline/sources"
)

// Version is the version of the file format that this package reads.
const Version = 1

// Pipeline is one pipeline file, checked, with every default filled in, every path made absolute or
// relative to the working directory, and every secret read. It is not changed after loading.
type Pipeline struct {
	Version int                       `mapstructure:"version" required:"true" min:"1" doc:"Version of the file format." example:"1"`
	Name    string                    `mapstructure:"name" doc:"What the pipeline is called, for people; default: the file's name." example:"front-gate"`
	Device  string                    `mapstructure:"device" doc:"Name of this device, a level of every topic and part of every result; default: the host's name." example:"gatehouse"`
	Sources map[string]sources.Config `mapstructure:"sources" required:"true" doc:"Capture stages, by name."`
	Models  map[string]models.Config  `mapstructure:"models" required:"true" doc:"Classify stages, by name."`
	Sinks   map[string]sinks.Config   `mapstructure:"sinks" required:"true" doc:"Publish stages, by name."`
	Runtime Runtime                   `mapstructure:"runtime" doc:"Where each stage runs."`
	HTTP    HTTP                      `mapstructure:"http" doc:"Health, metrics and status of this device."`
	Log     Log                       `mapstructure:"log" doc:"What is logged, to standard error."`
	Grace   time.Duration             `mapstructure:"grace" default:"8s" min:"0s" max:"10m" doc:"How long stages may finish what they have when asked to stop."`
	// Warnings are what is odd but can be run.
	Warnings strict.Problems `mapstructure:"-"`
	// Migrated is the file as it would be written now, when it is of an older version: YAML, with the
	// variables that it names; else empty.
	Migrated string `mapstructure:"-"`
	// Files are those that the pipeline file names and that were read: where one of them changes, the
	// pipeline does. A card that may come to lie beside a model is among them.
	Files []string `mapstructure:"-"`
}

// Off is the address that disables the HTTP server.
const Off = "off"

// HTTP is the server for health, metrics and status.
type HTTP struct {
	Listen      string `mapstructure:"listen" default:"127.0.0.1:9640" doc:"Address and port, or off. Only loopback addresses, unless allow_remote is true." example:"127.0.0.1:9640"`
	AllowRemote bool   `mapstructure:"allow_remote" default:"false" doc:"Allows an address that other machines reach. The server has neither TLS nor passwords; it shows no secrets and no pictures."`
}

// Log is what is logged.
type Log struct {
	Level  string `mapstructure:"level" enum:"debug,info,warn,error" default:"info" doc:"Least level that is logged."`
	Format string `mapstructure:"format" enum:"text,json" default:"text" doc:"Form of a line."`
}

// later are the keys that a later version will know.
var later = [...]string{
	"sources.*.sim",
}
