package mqtt

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"sightline/pipeline"
)

// The payloads of the topic <prefix>/<device>/available.
const (
	available   = "online"  // connected
	unavailable = "offline" // last will: the connection broke
	stopped     = "stopped" // asked to stop
)

// maxTopic is the largest length of a topic in bytes (MQTT 3.1.1 §1.5.3).
const maxTopic = 65535

// topics names what the sink publishes:
//
//	<prefix>/<device>/available                            retained
//	<prefix>/<device>/events                               every message of every event
//	<prefix>/<device>/<source>/status                      retained; a stage without source: its own name
//	<prefix>/<device>/<source>/<stage>[/<region>]/result
//	<prefix>/<device>/<source>/<stage>[/<region>]/state    retained, on change
type topics struct{ base string }

// newTopics checks prefix and device. The prefix may have several levels.
func newTopics(prefix, device string) (topics, error) {
	for _, part := range strings.Split(prefix, "/") {
		if err := checkLevel("prefix", part); err != nil {
			return topics{}, err
		}
	}
	if strings.HasPrefix(prefix, "$") {
		return topics{}, fmt.Errorf("topic prefix %q: topics that begin with $ belong to the broker", prefix)
	}
	if err := checkLevel("device", device); err != nil {
		return topics{}, err
	}
	return topics{base: prefix + "/" + device}, nil
}

func (t topics) available() string { return t.base + "/available" }

func (t topics) events() string { return t.base + "/events" }

func (t topics) status(s *pipeline.Status) (string, error) {
	name := s.Source
	if name == "" {
		name = s.Stage
	}
	if err := checkLevel("source", name); err != nil {
		return "", err
	}
	return t.base + "/" + name + "/status", nil
}

// place returns what stands before /result and /state.
func (t topics) place(p place) (string, error) {
	if err := checkLevel("source", p.source); err != nil {
		return "", err
	}
	if err := checkLevel("stage", p.stage); err != nil {
		return "", err
	}
	topic := t.base + "/" + p.source + "/" + p.stage
	if p.region != "" {
		if err := checkLevel("region", p.region); err != nil {
			return "", err
		}
		topic += "/" + p.region
	}
	if len(topic) > maxTopic-len("/result") {
		return "", fmt.Errorf("topic of source %q is longer than %d bytes", p.source[:min(64, len(p.source))], maxTopic)
	}
	return topic, nil
}

// checkLevel refuses a name that cannot be one level of a topic (MQTT 3.1.1 §4.7).
func checkLevel(kind, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s without a name cannot be a topic level", kind)
	case len(name) > maxTopic:
		return fmt.Errorf("%s name of %d bytes cannot be a topic level", kind, len(name))
	case strings.ContainsAny(name, "+#/\x00"):
		return fmt.Errorf("%s %q cannot be a topic level: it contains one of + # / NUL", kind, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q cannot be a topic level: it is not UTF-8", kind, name)
	}
	return nil
}
