package mqtt

import (
	"errors"

	"sightline/pipeline"
	"sightline/sinks"
)

// packet is one message to publish.
type packet struct {
	topic    string
	payload  []byte
	qos      byte
	retained bool
	end      int // where the payload ends in batch.bytes
}

// batch is what one call of Deliver publishes. It is used again once everything is acknowledged; the
// client library may look at it until then.
type batch struct {
	qos     byte
	packets []packet
	bytes   []byte
}

func (b *batch) reset() {
	b.packets, b.bytes = b.packets[:0], b.bytes[:0]
}

// add takes over a payload that was appended to b.bytes.
func (b *batch) add(topic string, retained bool, bytes []byte, err error) error {
	b.bytes = bytes
	if err == nil {
		b.packets = append(b.packets, packet{topic: topic, qos: b.qos, retained: retained, end: len(bytes)})
	}
	return err
}

// finish cuts bytes into payloads, once it no longer moves.
func (b *batch) finish() {
	start := 0
	for i := range b.packets {
		p := &b.packets[i]
		p.payload = b.bytes[start:p.end:p.end]
		start = p.end
	}
}

// build fills the batch with messages, and with the states that change by them. Any error is
// permanent, and then the memory is as it was.
func (b *batch) build(m *memory, messages []pipeline.Message) error {
	b.reset()
	for i := range messages {
		if err := b.message(m, &messages[i]); err != nil {
			m.settle(false)
			return pipeline.Permanent(err)
		}
	}
	b.finish()
	return nil
}

func (b *batch) message(m *memory, message *pipeline.Message) error {
	switch {
	case message.Result != nil:
		return b.result(m, message.Result)
	case message.Event != nil:
		bytes, err := sinks.AppendEvent(b.bytes, message.Event)
		return b.add(m.topics.events(), false, bytes, err)
	case message.Status != nil:
		m.reported = append(m.reported, *message.Status)
		return b.status(m, message.Status)
	}
	return errors.New("message holds no result, event or status")
}

func (b *batch) result(m *memory, r *pipeline.Result) error {
	s, err := m.at(place{r.Source, r.Stage, r.Region})
	if err != nil {
		return err
	}
	bytes, err := sinks.AppendResult(b.bytes, r)
	if err := b.add(s.resultTopic, false, bytes, err); err != nil {
		return err
	}
	if !m.see(s, r) {
		return nil
	}
	return b.state(m, s, &s.next)
}

func (b *batch) status(m *memory, s *pipeline.Status) error {
	topic, err := m.topics.status(s)
	if err != nil {
		return err
	}
	bytes, err := sinks.AppendStatus(b.bytes, m.device, s)
	return b.add(topic, true, bytes, err)
}

func (b *batch) state(m *memory, s *seen, v *view) error {
	state := m.state(s, v)
	bytes, err := sinks.AppendState(b.bytes, &state)
	return b.add(s.stateTopic, true, bytes, err)
}

// announce fills the batch with everything that is retained, after a connection was made. All of it
// was published before, so nothing is refused. d may be nil.
func (b *batch) announce(m *memory, d *discovery) error {
	b.reset()
	if err := b.add(m.topics.available(), true, append(b.bytes, available...), nil); err != nil {
		return err
	}
	if d != nil {
		for _, e := range d.entities {
			if err := b.add(e.topic, true, append(b.bytes, e.payload...), nil); err != nil {
				return err
			}
		}
	}
	for _, name := range m.names {
		s := m.statuses[name]
		if err := b.status(m, &s); err != nil {
			return err
		}
	}
	for _, s := range m.order {
		if !s.now.known {
			continue
		}
		if err := b.state(m, s, &s.now); err != nil {
			return err
		}
	}
	b.finish()
	return nil
}

// remove fills the batch with what takes retained messages away.
func (b *batch) remove(topics []string) {
	b.reset()
	for _, topic := range topics {
		_ = b.add(topic, true, b.bytes, nil) // nothing is encoded
	}
	b.finish()
}
