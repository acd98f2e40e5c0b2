// Package sinks defines the section `sinks:` of a pipeline file and the messages that go upstream.
// The sinks themselves are in the packages below it.
package sinks

import (
	"slices"
	"time"

	"sightline/pipeline"
)

// Config is one publish stage: an upstream and whose results it takes. Exactly one of the kinds of
// sink is set.
type Config struct {
	Inputs []string `mapstructure:"inputs" required:"true" ref:"models" doc:"Models whose results are published."`
	MQTT   *MQTT    `mapstructure:"mqtt" doc:"An MQTT 3.1.1 broker."`
	HTTP   *HTTP    `mapstructure:"http" doc:"A web server that takes batches by POST (a webhook)."`
	JSONL  *JSONL   `mapstructure:"jsonl" doc:"A file with one JSON result or event a line, or standard output."`
	Send   []string `mapstructure:"send" enum:"results,events" doc:"What goes upstream: results, events; default: both. Statuses always do."`
	Spool  Spool    `mapstructure:"spool" doc:"The queue in front of the upstream."`
}

// The values of Config.Send.
const (
	SendResults = "results"
	SendEvents  = "events"
)

// Sends tells whether messages of a kind, SendResults or SendEvents, go upstream.
func (c Config) Sends(kind string) bool { return len(c.Send) == 0 || slices.Contains(c.Send, kind) }

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
	Discovery    Discovery       `mapstructure:"discovery" doc:"Home Assistant finds cameras and models by itself."`
}

// Discovery is how Home Assistant finds what there is (its MQTT discovery).
type Discovery struct {
	Enabled     bool          `mapstructure:"enabled" default:"false" doc:"Publishes retained configurations for Home Assistant. Writing false removes those published before."`
	Prefix      string        `mapstructure:"prefix" default:"homeassistant" doc:"First level of its topics; Home Assistant's discovery prefix."`
	ExpireAfter time.Duration `mapstructure:"expire_after" default:"0s" min:"0s" max:"8760h" doc:"After how long without a change Home Assistant takes a class as unknown; 0s: never, since states are published on change only."`
	// Places are all that is to be found. They are filled in from the models whose results are published.
	Places []Place `mapstructure:"-"`
	// Remove says that what was published before is removed: enabled is written, and false.
	Remove bool `mapstructure:"-"`
}

// Place is where a model looks.
type Place struct {
	Source string
	Stage  string // the classify stage
	Region string // empty for the whole picture
	Events bool   // the stage makes events
}

// The values of HTTP.Format.
const (
	FormatJSON   = "json"
	FormatNDJSON = "ndjson"
)

// HTTP is a web server that takes batches of messages by POST.
type HTTP struct {
	URL         string            `mapstructure:"url" required:"true" doc:"Address that batches are posted to: https:// or http://. Without user and password." example:"https://hooks.example.com/sightline"`
	Format      string            `mapstructure:"format" enum:"json,ndjson" default:"json" doc:"Form of a body: a JSON array (application/json), or a JSON object a line (application/x-ndjson)."`
	Headers     map[string]string `mapstructure:"headers" doc:"Further header lines, lower case. None of them is secret: for a token there is token_file."`
	Token       pipeline.Secret   `mapstructure:"token" doc:"Token of the header Authorization: Bearer, as ${VARIABLE} from the environment." example:"${HOOK_TOKEN}"`
	TokenFile   string            `mapstructure:"token_file" doc:"File that holds the token." example:"/run/secrets/hook-token"`
	TokenHeader string            `mapstructure:"token_header" doc:"Header that carries the token as it is, instead of Authorization: Bearer." example:"x-api-key"`
	HMAC        HMAC              `mapstructure:"hmac" doc:"Signs each request with HMAC-SHA256, in the header X-Sightline-Signature."`
	CAFile      string            `mapstructure:"ca_file" doc:"PEM file of the authorities that may sign the server's certificate; default: the system's."`
	CertFile    string            `mapstructure:"cert_file" doc:"PEM file of the client's certificate."`
	KeyFile     string            `mapstructure:"key_file" doc:"PEM file of the client's private key."`
	Batch       int               `mapstructure:"batch" default:"64" min:"1" max:"1000" doc:"Most messages in one request."`
	MaxBytes    pipeline.Size     `mapstructure:"max_bytes" default:"1MiB" min:"64KiB" max:"64MiB" doc:"Most bytes of one request's body, before compression."`
	Gzip        bool              `mapstructure:"gzip" default:"false" doc:"Compresses bodies (Content-Encoding: gzip)."`
	Timeout     time.Duration     `mapstructure:"timeout" default:"10s" min:"100ms" max:"10m" doc:"How long a request may take, connecting included."`
}

// HMAC is the key that requests are signed with.
type HMAC struct {
	Secret     pipeline.Secret `mapstructure:"secret" doc:"The key, as ${VARIABLE} from the environment." example:"${HOOK_KEY}"`
	SecretFile string          `mapstructure:"secret_file" doc:"File that holds the key." example:"/run/secrets/hook-key"`
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
	MaxBytes pipeline.Size `mapstructure:"max_bytes" default:"256MiB" min:"64KiB" doc:"Bytes that may wait on disk."`
	MaxAge   time.Duration `mapstructure:"max_age" default:"72h" min:"1s" doc:"How long a result may wait."`
	Full     string        `mapstructure:"full" enum:"drop_oldest,reject_new" default:"drop_oldest" doc:"What is let go, and counted, when the queue is full."`
}
