package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"sightline/pipeline"
)

// greetAndWelcome runs both sides of a hello over a way.
func greetAndWelcome(t *testing.T, way string, g Greeting, tk Ticket) (peer Peer, told pipeline.Secret, stageErr, boxErr error) {
	a, b := ways[way](t)
	defer a.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		stageErr = within(t.Context(), b, func() (err error) { _, told, err = greet(b, g); return err })
	}()
	boxErr = within(t.Context(), a, func() (err error) { peer, err = welcome(a, tk); return err })
	<-done
	return peer, told, stageErr, boxErr
}

func TestHello(t *testing.T) {
	other := pipeline.NewSecret("another nonce of more than 16 bytes")
	for _, c := range []struct {
		name       string
		g          Greeting
		t          Ticket
		stage, box error
	}{
		{"a stage that was started for the box", Greeting{Kind: Capture, Name: "it", Nonce: nonce}, ticket(Capture), nil, nil},
		{"one that does not know its name yet", Greeting{Kind: Capture, Nonce: nonce}, ticket(Capture), nil, nil},
		{"one without a nonce enrolls", Greeting{Kind: Publish}, Ticket{Publish, "it", nonce, true}, nil, nil},
		{"one with a nonce may where others enroll", Greeting{Kind: Publish, Nonce: nonce}, Ticket{Publish, "it", nonce, true}, nil, nil},
		{"one without a nonce where none enrolls", Greeting{Kind: Publish}, ticket(Publish), ErrNonce, ErrNonce},
		{"the supervisor proves first: another nonce", Greeting{Kind: Capture, Nonce: other}, ticket(Capture), ErrNonce, ErrNonce},
		{"another kind", Greeting{Kind: Capture, Nonce: nonce}, ticket(Publish), ErrIdentity, ErrIdentity},
		{"another name", Greeting{Kind: Capture, Name: "that", Nonce: nonce}, ticket(Capture), ErrIdentity, ErrIdentity},
	} {
		for way := range ways {
			t.Run(c.name+" over "+way, func(t *testing.T) {
				peer, told, stageErr, boxErr := greetAndWelcome(t, way, c.g, c.t)
				if !errors.Is(stageErr, c.stage) || !errors.Is(boxErr, c.box) {
					t.Fatalf("stage: %v, want %v\nbox: %v, want %v", stageErr, c.stage, boxErr, c.box)
				}
				if c.box == nil && (peer.Version != NewestVersion || peer.Name != "it" || told != nonce) {
					t.Errorf("agreed on %+v, nonce told %t", peer, told == nonce)
				}
				for _, err := range []error{stageErr, boxErr} {
					if err != nil && strings.Contains(err.Error(), nonce.Reveal()) {
						t.Errorf("the nonce is in the error %q", err)
					}
				}
			})
		}
	}
}

func TestANonceThatIsTooShortIsRefusedBeforeAnythingIsSaid(t *testing.T) {
	if _, err := welcome(oneWay{strings.NewReader("")}, Ticket{Kind: Capture, Name: "it", Nonce: pipeline.NewSecret("short")}); err == nil {
		t.Error("no error")
	}
}

func hello(h helloBody) []byte {
	body, err := json.Marshal(h)
	if err != nil {
		panic(err)
	}
	return appendRecord([]byte(magic), recHello, body)
}

// helloBreaches are first bytes of a stage that the supervisor turns down.
func helloBreaches() map[string]struct {
	bytes []byte
	err   error
} {
	fresh := bytes.Repeat([]byte{7}, challengeSize)
	huge := append([]byte(magic), byte(recHello), 0xff, 0xff, 0xff, 0xff)
	return map[string]struct {
		bytes []byte
		err   error
	}{
		"nothing":                    {nil, io.ErrUnexpectedEOF},
		"another protocol":           {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrForeign},
		"a length beyond all bounds": {huge, ErrTooLarge},
		"another record":             {appendRecord([]byte(magic), recAccepted, nil), ErrUnexpected},
		"no JSON":                    {appendRecord([]byte(magic), recHello, []byte("{")), ErrMalformed},
		"a version of the future":    {hello(helloBody{Oldest: 900, Newest: 901, Kind: Capture, Challenge: fresh, Knows: true}), ErrVersion},
		"a version of the past":      {hello(helloBody{Kind: Capture, Challenge: fresh, Knows: true}), ErrVersion},
		"versions upside down":       {hello(helloBody{Oldest: 2, Newest: 1, Kind: Capture, Challenge: fresh}), ErrMalformed},
		"no challenge":               {hello(helloBody{Oldest: 1, Newest: 1, Kind: Capture, Knows: true}), ErrMalformed},
		"a proof by guess": {append(hello(helloBody{Oldest: 1, Newest: 1, Kind: Capture, Challenge: fresh, Knows: true}),
			appendRecord(nil, recProof, []byte(`{"proof":"AAAA"}`))...), ErrNonce},
		"no proof": {hello(helloBody{Oldest: 1, Newest: 1, Kind: Capture, Challenge: fresh, Knows: true}), io.ErrUnexpectedEOF},
	}
}

func TestHelloOfAStageThatBreaksTheProtocol(t *testing.T) {
	for name, c := range helloBreaches() {
		t.Run(name, func(t *testing.T) {
			if _, err := welcome(oneWay{bytes.NewReader(c.bytes)}, ticket(Capture)); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
		})
	}
}

func TestANewerStageThatKnowsMoreIsLetIn(t *testing.T) {
	body := []byte(`{"oldest":1,"newest":7,"kind":"capture","challenge":"` + strings.Repeat("AAAA", 10) + `AAA=","knows":true,"colour":"green"}`)
	peer, knows, err := checkHello(body, ticket(Capture))
	if err != nil || peer.Version != NewestVersion || !knows {
		t.Errorf("%+v, %v", peer, err)
	}
}

func TestAHelloCutAnywhereIsAnError(t *testing.T) {
	whole := hello(helloBody{Oldest: 1, Newest: 1, Kind: Capture, Challenge: bytes.Repeat([]byte{7}, challengeSize), Knows: true})
	for n := range whole {
		if _, err := welcome(oneWay{bytes.NewReader(whole[:n])}, ticket(Capture)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

func TestASilentStageIsGivenUpWithTheContext(t *testing.T) {
	a, b := unixPair(t)
	defer b.Close()
	ctx, cancel := contextWithCause(t)
	go cancel(errors.New("enough"))
	if _, err := Accept(ctx, a, BoxOptions{Ticket: ticket(Capture)}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("error %v", err)
	}
	noLeftovers(t)
}

func FuzzHelloOfAStage(f *testing.F) {
	for _, c := range helloBreaches() {
		f.Add(c.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := welcome(oneWay{bytes.NewReader(b)}, ticket(Capture)); err == nil {
			t.Fatal("let in without knowing the nonce")
		}
	})
}

func FuzzHelloOfASupervisor(f *testing.F) {
	for _, c := range helloBreaches() {
		f.Add(c.bytes)
	}
	answer, err := answerHello([]byte("hello"), 1, false, ticket(Capture))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(appendRecord([]byte(magic), recWelcome, answer), appendRecord(nil, recAccepted, nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := greet(oneWay{bytes.NewReader(b)}, Greeting{Kind: Capture, Nonce: nonce}); err == nil {
			t.Fatal("took a supervisor that does not know the nonce")
		}
	})
}
