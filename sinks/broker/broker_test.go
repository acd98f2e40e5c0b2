package broker_test

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sightline/pipeline"
	"sightline/sinks/broker"
)

const patience = 2 * time.Minute

func start(t *testing.T, o broker.Options) *broker.Broker {
	t.Helper()
	b, err := broker.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// options are those of a client with a last will.
func options(b *broker.Broker, id string) *paho.ClientOptions {
	o := paho.NewClientOptions().AddBroker(strings.Replace(b.URL(), "mqtt://", "tcp://", 1))
	return o.SetClientID(id).SetProtocolVersion(4).SetAutoReconnect(false).SetWill("will", "gone", 1, true)
}

func connect(t *testing.T, o *paho.ClientOptions) paho.Client {
	t.Helper()
	c := paho.NewClient(o)
	finish(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

func finish(t *testing.T, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatal("no answer")
	}
	if err := token.Error(); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, c paho.Client, qos byte) <-chan paho.Message {
	t.Helper()
	messages := make(chan paho.Message, 100)
	finish(t, c.Subscribe("#", qos, func(_ paho.Client, m paho.Message) { messages <- m }))
	return messages
}

func receive(t *testing.T, messages <-chan paho.Message) paho.Message {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(patience):
		t.Fatal("no message")
		return nil
	}
}

// retained waits until a new subscriber gets the message of topic a/b, and no other: the broker has it
// for subscribers only a moment after it acknowledged it, or was started.
func retained(t *testing.T, b *broker.Broker, want string) {
	t.Helper()
	got := "nothing"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		subscriber := connect(t, options(b, "subscriber"))
		messages := subscribe(t, subscriber, 1)
		select {
		case m := <-messages:
			if m.Topic() != "a/b" || !m.Retained() {
				t.Fatalf("got %s, retained %t", m.Topic(), m.Retained())
			}
			got = string(m.Payload())
		case <-time.After(time.Second):
		}
		subscriber.Disconnect(100)
		if got == want {
			if len(messages) > 0 {
				t.Errorf("and %s", (<-messages).Topic())
			}
			return
		}
	}
	t.Fatalf("got %s, want %q", got, want)
}

func TestMessagesAreDeliveredWithBothQualities(t *testing.T) {
	b := start(t, broker.Options{})
	for _, qos := range []byte{0, 1} {
		messages := subscribe(t, connect(t, options(b, "subscriber"+strconv.Itoa(int(qos)))), qos)
		finish(t, connect(t, options(b, "publisher")).Publish("a/b", qos, false, "text"))
		if m := receive(t, messages); m.Topic() != "a/b" || string(m.Payload()) != "text" || m.Qos() != qos || m.Retained() {
			t.Errorf("QoS %d: got %s %q with QoS %d, retained %t", qos, m.Topic(), m.Payload(), m.Qos(), m.Retained())
		}
	}
}

func TestMessagesAreRetained(t *testing.T) {
	b := start(t, broker.Options{})
	publisher := connect(t, options(b, "publisher"))
	finish(t, publisher.Publish("a/b", 1, true, "old"))
	finish(t, publisher.Publish("a/b", 1, true, "new"))
	finish(t, publisher.Publish("c/d", 1, false, "passing"))
	retained(t, b, "new")
}

func TestLastWillIsPublishedWhenAConnectionBreaks(t *testing.T) {
	b := start(t, broker.Options{})
	messages := subscribe(t, connect(t, options(b, "subscriber")), 1)
	o := options(b, "device")
	var conn net.Conn
	o.SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		var err error
		conn, err = net.Dial("tcp", u.Host)
		return conn, err
	})
	connect(t, o)
	conn.Close()
	if m := receive(t, messages); m.Topic() != "will" || string(m.Payload()) != "gone" {
		t.Errorf("got %s %q", m.Topic(), m.Payload())
	}
}

func TestOnlyTheUserMayConnect(t *testing.T) {
	b := start(t, broker.Options{Username: "device", Password: pipeline.NewSecret("right")})
	connect(t, options(b, "right").SetUsername("device").SetPassword("right"))
	for name, o := range map[string]*paho.ClientOptions{
		"wrong password": options(b, "wrong").SetUsername("device").SetPassword("wrong"),
		"no user":        options(b, "none"),
	} {
		token := paho.NewClient(o).Connect()
		if !token.WaitTimeout(patience) || token.Error() == nil {
			t.Errorf("%s: connected", name)
		}
	}
}

func TestMessagesOutliveTheBrokerInAFolderThatIsGiven(t *testing.T) {
	dir := t.TempDir()
	b := start(t, broker.Options{Dir: dir})
	finish(t, connect(t, options(b, "publisher")).Publish("a/b", 1, true, "kept"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, broker.Options{Dir: dir, Port: b.Port()})
	if again.Port() != b.Port() {
		t.Errorf("port %d, want %d", again.Port(), b.Port())
	}
	retained(t, again, "kept")
}

func TestTheFolderIsRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	b := start(t, broker.Options{})
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "sightline-broker-*")); len(left) != 1 {
		t.Errorf("folders %v, want one", left)
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "sightline-broker-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAPortInUseIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = broker.Start(broker.Options{Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %v, want one that says why", err)
	}
}
