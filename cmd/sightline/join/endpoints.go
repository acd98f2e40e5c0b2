package join

import (
	"errors"

	"sightline/pipeline/grant"
	"sightline/sinks"
	"sightline/sources"
)

// SourceEndpoints are what a capture stage may reach.
func SourceEndpoints(c sources.Config) ([]grant.Endpoint, error) {
	if c.Local() {
		return nil, nil
	}
	if c.RTSP == nil {
		return nil, errors.New("no kind of source")
	}
	camera, err := grant.FromURL("camera", c.RTSP.URL, ports())
	camera.UDP = c.RTSP.Transport == "auto" || c.RTSP.Transport == "udp"
	return []grant.Endpoint{camera}, err
}

// SinkEndpoints are what a publish stage may reach.
func SinkEndpoints(c sinks.Config) ([]grant.Endpoint, error) {
	switch {
	case c.MQTT != nil:
		broker, err := grant.FromURL("broker", c.MQTT.URL, ports())
		return []grant.Endpoint{broker}, err
	case c.HTTP != nil:
		server, err := grant.FromURL("server", c.HTTP.URL, ports())
		return []grant.Endpoint{server}, err
	case c.JSONL != nil:
		return nil, nil
	}
	return nil, errors.New("no kind of sink")
}

// ports are those of addresses that name none.
func ports() map[string]string {
	return map[string]string{"rtsp": "554", "rtsps": "322", "mqtt": "1883", "mqtts": "8883", "http": "80", "https": "443"}
}
