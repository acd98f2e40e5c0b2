package mqtt

import (
	"encoding/binary"
	"fmt"
)

// Kinds of control packets that a broker sends to a client that publishes with QoS 0 and 1 and
// subscribes with QoS 0 (MQTT 3.1.1 §2.2.1).
const (
	kindConnack  = 2
	kindPublish  = 3
	kindPuback   = 4
	kindSuback   = 9
	kindPingresp = 13
)

const (
	maxConnack     = 5       // largest return code (§3.2.2.3)
	subackFailure  = 0x80    // return code of a refused subscription (§3.9.3)
	maxHeardTopic  = 1024    // bytes of a topic that is listened to
	maxHeard       = 64      // bytes kept of a payload
	maxPacketBytes = 1 << 28 // what four bytes of length can say (§2.2.3)
)

// heard is a message from the broker: its topic, and the beginning of its payload.
type heard struct {
	topic   string
	payload string
}

// inbound follows the packets in the bytes that come from a broker. It takes messages out of them, since
// the client library would keep as much of one as the broker likes to send. The zero value is ready,
// and expects neither messages nor acknowledged subscriptions.
type inbound struct {
	hear func(heard) // takes messages; nil: none are expected

	head   []byte // kind and length, as far as they have come
	headed bool   // they are whole
	size   int    // of the body
	at     int    // bytes of the body that came
	topic  int    // length of a message's topic
	text   []byte // what is kept of a message
}

// inspect appends to out what of p the client library is to see. It returns an error at the first byte
// that does not belong to an expected packet.
func (i *inbound) inspect(out, p []byte) ([]byte, error) {
	for len(p) > 0 {
		part := p[:1]
		if i.headed {
			part = p[:min(len(p), i.size-i.at)]
		}
		p = p[len(part):]
		if err := i.take(part); err != nil {
			return out, err
		}
		if i.kind() != kindPublish {
			out = append(out, part...)
		}
		if i.headed && i.at == i.size {
			i.finish()
		}
	}
	return out, nil
}

// take takes the next byte of the head, or a part of the body.
func (i *inbound) take(part []byte) (err error) {
	if !i.headed {
		i.head = append(i.head, part[0])
		i.headed, err = i.header()
		return err
	}
	for _, b := range part {
		if err := i.body(b); err != nil {
			return err
		}
		i.at++
	}
	return nil
}

func (i *inbound) kind() byte { return i.head[0] >> 4 }

// header looks at kind and length, and tells whether they are whole.
func (i *inbound) header() (bool, error) {
	kind, n := i.kind(), len(i.head)
	if n == 1 {
		return false, i.expected()
	}
	if kind != kindPublish {
		if want := bodyOf(kind); i.head[1] != want {
			return false, fmt.Errorf("broker sent a packet of kind %d with length %d instead of %d", kind, i.head[1], want)
		}
		i.size = int(i.head[1])
		return true, nil
	}
	if i.head[n-1] >= 0x80 {
		if n == 5 {
			return false, fmt.Errorf("broker sent a message longer than %d bytes", maxPacketBytes)
		}
		return false, nil
	}
	for j := n - 1; j >= 1; j-- {
		i.size = i.size<<7 | int(i.head[j]&0x7f)
	}
	if i.size < topicAt {
		return false, fmt.Errorf("broker sent a message of %d bytes, which cannot have a topic", i.size)
	}
	return true, nil
}

// expected refuses kinds of packets that a broker has no reason to send.
func (i *inbound) expected() error {
	switch kind := i.kind(); {
	case kind == kindConnack || kind == kindPuback || kind == kindPingresp:
	case kind == kindSuback && i.hear != nil:
	case kind == kindPublish && i.hear != nil:
		if i.head[0]&0b1110 != 0 {
			return fmt.Errorf("broker sent a message with QoS %d, which nobody asked for", i.head[0]>>1&3)
		}
	default:
		return fmt.Errorf("broker sent an unexpected packet of kind %d", kind)
	}
	return nil
}

// bodyOf is the length that a packet of this kind has.
func bodyOf(kind byte) byte {
	switch kind {
	case kindPingresp:
		return 0
	case kindSuback:
		return 3 // of one topic
	}
	return 2
}

// body looks at the next byte of a body.
func (i *inbound) body(b byte) error {
	switch kind := i.kind(); {
	case kind == kindPublish:
		return i.message(b)
	case kind == kindConnack && i.at == 1 && b > maxConnack:
		return fmt.Errorf("broker refused the connection with unknown code %d", b)
	case kind == kindSuback && i.at == 2 && b != 0 && b != subackFailure:
		return fmt.Errorf("broker granted a subscription with unknown code %d", b)
	}
	return nil
}

// topicAt is where the topic of a message begins, after its length.
const topicAt = 2

// message takes the next byte of a message: the length of its topic, the topic, the payload.
func (i *inbound) message(b byte) error {
	if i.at < topicAt+min(i.topic, maxHeardTopic)+maxHeard {
		i.text = append(i.text, b)
	}
	if i.at != topicAt-1 {
		return nil
	}
	i.topic = int(binary.BigEndian.Uint16(i.text))
	if i.topic == 0 || topicAt+i.topic > i.size {
		return fmt.Errorf("broker sent a message whose topic of %d bytes does not fit it", i.topic)
	}
	return nil
}

// finish ends a packet.
func (i *inbound) finish() {
	if i.kind() == kindPublish && i.topic <= maxHeardTopic {
		i.hear(heard{topic: string(i.text[topicAt : topicAt+i.topic]), payload: string(i.text[topicAt+i.topic:])})
	}
	*i = inbound{hear: i.hear, head: i.head[:0], text: i.text[:0]}
}
