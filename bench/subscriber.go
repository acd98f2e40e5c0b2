package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sightline/pipeline"
)

// arrival is one result as the subscriber received it.
type arrival struct {
	at     time.Duration // on the monotonic clock
	wall   time.Time
	result pipeline.Result
}

// subscriber receives all results of a broker and notes when.
type subscriber struct {
	client paho.Client

	mu       sync.Mutex
	arrivals []arrival
	bad      error         // the first message that was none
	first    chan struct{} // closed at the first result
}

// subscribe connects to a broker. Its deliveries need no acknowledgement (QoS 0), so that the time of
// a result is that of the pipeline's publishing.
func subscribe(ctx context.Context, broker, prefix string) (*subscriber, error) {
	s := &subscriber{first: make(chan struct{})}
	options := paho.NewClientOptions().AddBroker("tcp://" + strings.TrimPrefix(broker, "mqtt://")).
		SetClientID("sightline-bench").SetAutoReconnect(false).SetConnectTimeout(10 * time.Second)
	s.client = paho.NewClient(options)
	if err := wait(ctx, s.client.Connect()); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", broker, err)
	}
	if err := wait(ctx, s.client.Subscribe(prefix+"/+/+/+/result", 0, s.take)); err != nil {
		s.close()
		return nil, fmt.Errorf("subscribe at %s: %w", broker, err)
	}
	return s, nil
}

func wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *subscriber) take(_ paho.Client, m paho.Message) {
	a := arrival{at: now(), wall: time.Now()}
	err := json.Unmarshal(m.Payload(), &a.result)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.bad == nil {
			s.bad = fmt.Errorf("message on %s: %w", m.Topic(), err)
		}
		return
	}
	if len(s.arrivals) == 0 {
		close(s.first)
	}
	s.arrivals = append(s.arrivals, a)
}

// taken returns what arrived so far.
func (s *subscriber) taken() ([]arrival, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrivals[:len(s.arrivals):len(s.arrivals)], s.bad
}

func (s *subscriber) close() { s.client.Disconnect(100) }
