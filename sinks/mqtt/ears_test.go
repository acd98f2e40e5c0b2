package mqtt

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sightline/sinks"
)

func testDiscovery(t testing.TB) *discovery {
	t.Helper()
	d, err := newDiscovery(sinks.Discovery{Enabled: true, Prefix: "home", Places: []sinks.Place{{Source: "gate", Stage: "scene"}}},
		topics{base: "sightline/porch"}, "porch", 1)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOnlyWhatStandsOnOwnTopicsIsStale(t *testing.T) {
	d := testDiscovery(t)
	own := "home/sensor/" + d.node + "/old/config"
	for topic, want := range map[string]bool{
		own: true, d.entities[0].topic: false, strings.Replace(own, "/config", "/state", 1): false,
		"other/" + own: false, own + "/config": false, "home/sensor/" + d.node + "2/old/config": false, "home/sensor/old/config": false,
		"home/+/" + d.node + "/old/config": false, "home/sensor/" + d.node + "/#/config": false, "home/sensor/" + d.node + "//config": false,
		"home//" + d.node + "/old/config": false, "": false, "home/": false, "home/sensor/" + d.node + "/a\x00b/config": false,
	} {
		if got := d.stale(topic); got != want {
			t.Errorf("%q: %t, want %t", topic, got, want)
		}
	}
}

func TestEarsKeepLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDiscovery(t)
		e := newEars(d)
		for i := range 10_000 {
			e.hear(heard{topic: fmt.Sprintf("home/sensor/%s/x%d/config", d.node, i%5000), payload: "{}"})
			e.hear(heard{topic: fmt.Sprintf("home/sensor/%s/y%d/config", d.node, i)})
			e.hear(heard{topic: "other/" + fmt.Sprint(i), payload: "online"})
		}
		<-e.signal
		if stale, born := e.take(time.Now()); len(stale) != maxStale || born {
			t.Errorf("%d stale, born %t", len(stale), born)
		}
		if stale, born := e.take(time.Now()); len(stale) != 0 || born {
			t.Errorf("again %d stale, born %t", len(stale), born)
		}
	})
}

func TestHomeAssistantIsAnsweredCalmly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEars(testDiscovery(t))
		answers := 0
		began := time.Now()
		for time.Since(began) < time.Minute {
			for _, topic := range []string{"home/status", "homeassistant/status"} {
				e.hear(heard{topic: topic, payload: "online"})
			}
			select {
			case <-e.signal:
				if _, born := e.take(time.Now()); born {
					answers++
				}
			default:
			}
			time.Sleep(100 * time.Millisecond)
		}
		if answers != 12 {
			t.Errorf("%d answers in a minute of birth messages", answers)
		}
		time.Sleep(2 * calm) // the last is answered too
		<-e.signal
		if _, born := e.take(time.Now()); !born {
			t.Error("the last one is not answered")
		}
		e.hear(heard{topic: "home/status", payload: "offline"})
		if _, born := e.take(time.Now().Add(time.Hour)); born {
			t.Error("going down is answered")
		}
	})
}

// Whatever topic a broker names, only one below the own node is emptied, and it can be published on.
func FuzzStale(f *testing.F) {
	d := testDiscovery(f)
	f.Add("home/sensor/" + d.node + "/old/config")
	f.Add(d.entities[0].topic)
	f.Add("home/+/" + d.node + "/#/config")
	f.Fuzz(func(t *testing.T, topic string) {
		if !d.stale(topic) {
			return
		}
		if !strings.Contains(topic, "/"+d.node+"/") || !strings.HasPrefix(topic, "home/") || strings.ContainsAny(topic, "+#\x00") {
			t.Fatalf("%q", topic)
		}
	})
}
