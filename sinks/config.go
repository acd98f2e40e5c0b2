// Package sinks defines the section `sinks:` of a pipeline file and the messages that go upstream.
// The sinks themselves are in the packages below it.
package sinks

import (
	"time"

	"sightline/pipeline"
)

// Config is one publish stage: an upstream and whose results it takes. Exactly one of the kinds of
// sink is set.
type Config struct {
	Inputs []string `mapstructure:"inputs" required:"true" ref:"models" doc:"Models whose results are published."`
	MQTT   *MQTT    `mapstructure:"mqtt" doc:"An MQTT 3.1.1 broker."`
	JSONL  *JSONL   `mapstructure:"jsonl" doc:"A file with one JSON result a line, or standard output."`
	Spool  Spool    `mapstructure:"spool" doc:"The queue in front of the upstream."`
}

// MQTT is a broker.
type MQTT struct {
	URL          string          `mapstructure:"url" required:"true" doc:"Address of the broker: mqtt://host:port, or mqtts:// for TLS. Without user and password." example:"mqtts://broker.example.com:8883"`
	Prefix       string          `mapstructure:"prefix" default:"sightline" doc:"First level of every topic."`
	ClientID     string          `mapstructure:"client_id" doc:"MQTT client identifier; default: the prefix, the device and the sink's name."`
	Username     string          `mapstructure:"username" doc:"User name."`
	Password     pipeline.Secret `mapstructure:"password" doc:"Password, as ${VARIABLE} from the environment." example:"${BROKER_PASSWORD}"`
	PasswordFile string          `mapstructure:"password_file" doc:"File that holds the password." example:"/run/secrets/broker"`
	CAFile       string          `mapstructure:"ca_file" doc:"PEM file of the authorities that may sign the broker's certificate; default: the system's."`
	CertFile     string          `mapstructure:"cert_file" doc:"PEM file of the client's certificate."`
	KeyFile      string          `mapstructure:"key_file" doc:"PEM file of the client's private key."`
	QoS          int             `mapstructure:"qos" default:"1" min:"0" max:"1" doc:"Quality of service: 1 is delivered at least once, 0 at most once."`
	KeepAlive    time.Duration   `mapstructure:"keep_alive" default:"30s" min:"1s" max:"18h" doc:"Longest silence before the connection is checked."`
	Timeout      time.Duration   `mapstructure:"timeout" default:"10s" min:"100ms" doc:"How long connecting and an acknowledgement may take."`
}

// JSONL is a file of JSON lines.
type JSONL struct {
	Path     string        `mapstructure:"path" required:"true" doc:"File to append to; - is standard output." example:"results.jsonl"`
	MaxBytes pipeline.Size `mapstructure:"max_bytes" default:"64MiB" min:"4KiB" doc:"Size at which the file is rotated."`
	Keep     int           `mapstructure:"keep" default:"4" min:"0" max:"1000" doc:"Rotated files kept beside the current one."`
}

// The values of Spool.Full.
const (
	DropOldest = "drop_oldest"
	RejectNew  = "reject_new"
)

// Spool is the queue in front of an upstream, and its limits.
type Spool struct {
	MaxBytes pipeline.Size `mapstructure:"max_bytes" default:"16MiB" min:"64KiB" doc:"Bytes that may wait."`
	MaxAge   time.Duration `mapstructure:"max_age" default:"72h" min:"1s" doc:"How long a result may wait."`
	Full     string        `mapstructure:"full" enum:"drop_oldest,reject_new" default:"drop_oldest" doc:"What is let go, and counted, when the queue is full."`
}
