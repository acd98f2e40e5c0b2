package mqtt

import (
	"context"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// listen subscribes to what Home Assistant says, and to what stands there of this device. A broker that
// does not allow it is no reason to be without it: then nothing is removed, and said again only after
// the next connection.
func (k *keeper) listen(link *session) {
	for _, topic := range k.sink.discovery.subscriptions() {
		token := link.client.Subscribe(topic, 0, nil)
		select {
		case <-token.Done():
		case <-link.lost:
			return
		}
		granted, ok := token.(*paho.SubscribeToken)
		if err := token.Error(); err != nil || !ok || granted.Result()[topic] == subackFailure {
			k.sink.env.Log.Warn("the broker does not let us listen for Home Assistant", "topic", topic, "err", err)
		}
	}
}

// answer removes what is no longer wanted, and says everything again when Home Assistant has come up.
func (k *keeper) answer(ctx context.Context, link *session) error {
	s := k.sink
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	stale, born := link.ears.take(time.Now())
	if len(stale) > 0 {
		s.env.Log.Info("removing from Home Assistant what is no longer there", "entities", len(stale))
		gone := s.newBatch()
		gone.remove(stale)
		if err := link.publish(ctx, gone.packets, s.up.config.Timeout); err != nil {
			return err
		}
	}
	if !born {
		return nil
	}
	return k.announceAll(ctx, link)
}
