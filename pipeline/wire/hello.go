package wire

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"sightline/pipeline"
)

// The versions of the protocol that this package speaks.
const (
	OldestVersion uint16 = 1
	NewestVersion uint16 = 1
)

// Kind is the kind of a stage.
type Kind string

// The kinds of stages.
const (
	Capture  Kind = "capture"
	Classify Kind = "classify"
	Publish  Kind = "publish"
)

const (
	magic = "SLWR"

	recHello    recordType = 1 // stage → supervisor
	recWelcome  recordType = 2 // supervisor → stage
	recProof    recordType = 3 // stage → supervisor
	recAccepted recordType = 4 // supervisor → stage
	recRefuse   recordType = 5 // either, instead of its turn

	challengeSize = 32
	minNonce      = 16
	maxNonce      = 64
)

// Greeting is what a stage says of itself.
type Greeting struct {
	Kind    Kind
	Name    string // of the stage; may be empty when it is still to be told
	Program string // name and version of the program, for the operator
	// Nonce is what the supervisor gave the stage when starting it, 16 to 64 bytes. A stage that
	// could not be given one leaves it empty, and receives it with the first welcome.
	Nonce pipeline.Secret
}

// Ticket is what the supervisor knows of the stage that it started.
type Ticket struct {
	Kind  Kind
	Name  string
	Nonce pipeline.Secret // 16 to 64 random bytes
	// Enroll lets a stage in that has no nonce yet, and tells it the nonce. Only for the first wire
	// of a box, over a stream that nobody but the box can reach (QEMU's own socket).
	Enroll bool
}

type helloBody struct {
	Oldest    uint16 `json:"oldest"`
	Newest    uint16 `json:"newest"`
	Kind      Kind   `json:"kind"`
	Name      string `json:"name,omitempty"`
	Program   string `json:"program,omitempty"`
	Challenge []byte `json:"challenge"`
	Knows     bool   `json:"knows"` // has a nonce
}

type welcomeBody struct {
	Version   uint16 `json:"version"`
	Challenge []byte `json:"challenge"`
	Nonce     []byte `json:"nonce,omitempty"` // for a stage that has none
	Proof     []byte `json:"proof"`
}

type proofBody struct {
	Proof []byte `json:"proof"`
}

type refuseBody struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// Peer is what was agreed in the hello.
type Peer struct {
	Version uint16
	Kind    Kind
	Name    string
	Program string
}

// supervisorProof and stageProof show that the sender knows the nonce, by HMAC-SHA256 (RFC 2104) over
// what was said so far, which holds fresh random numbers of both sides.
func supervisorProof(nonce []byte, hello []byte, w welcomeBody) []byte {
	mac := hmac.New(sha256.New, nonce)
	mac.Write([]byte("sightline supervisor\x00"))
	mac.Write(binary.BigEndian.AppendUint16(nil, w.Version))
	mac.Write(w.Challenge)
	mac.Write(hello)
	return mac.Sum(nil)
}

func stageProof(nonce []byte, hello, welcome []byte) []byte {
	mac := hmac.New(sha256.New, nonce)
	mac.Write([]byte("sightline stage\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(hello))))
	mac.Write(hello)
	mac.Write(welcome)
	return mac.Sum(nil)
}

func challenge() []byte {
	c := make([]byte, challengeSize)
	rand.Read(c) // never fails, by its contract
	return c
}

// greet is the stage's side of the hello. It returns the nonce, which it may just have been told.
func greet(conn io.ReadWriter, g Greeting) (Peer, pipeline.Secret, error) {
	hello, err := json.Marshal(helloBody{Oldest: OldestVersion, Newest: NewestVersion, Kind: g.Kind, Name: g.Name,
		Program: clip(g.Program, maxName), Challenge: challenge(), Knows: !g.Nonce.Empty()})
	if err != nil {
		return Peer{}, g.Nonce, err
	}
	if _, err := conn.Write(appendRecord([]byte(magic), recHello, hello)); err != nil {
		return Peer{}, g.Nonce, fmt.Errorf("say hello: %w", err)
	}
	welcome, err := readHello(conn, true, recWelcome)
	if err != nil {
		return Peer{}, g.Nonce, fmt.Errorf("read the welcome: %w", err)
	}
	nonce, version, err := checkWelcome(welcome, hello, g.Nonce)
	if err != nil {
		return Peer{}, g.Nonce, refuse(conn, "", fmt.Errorf("check the welcome: %w", err))
	}
	if err := writeJSON(conn, recProof, proofBody{stageProof([]byte(nonce.Reveal()), hello, welcome)}); err != nil {
		return Peer{}, g.Nonce, fmt.Errorf("send the proof: %w", err)
	}
	if _, err := readHello(conn, false, recAccepted); err != nil {
		return Peer{}, g.Nonce, fmt.Errorf("wait for being accepted: %w", err)
	}
	return Peer{Version: version, Kind: g.Kind, Name: g.Name}, nonce, nil
}

func checkWelcome(welcome, hello []byte, known pipeline.Secret) (pipeline.Secret, uint16, error) {
	var w welcomeBody
	if err := decodeJSON(welcome, &w); err != nil {
		return known, 0, err
	}
	if w.Version < OldestVersion || w.Version > NewestVersion {
		return known, 0, fmt.Errorf("version %d, this stage speaks %d to %d: %w", w.Version, OldestVersion, NewestVersion, ErrVersion)
	}
	if len(w.Challenge) != challengeSize {
		return known, 0, fmt.Errorf("challenge of %d bytes: %w", len(w.Challenge), ErrMalformed)
	}
	if known.Empty() {
		if len(w.Nonce) < minNonce || len(w.Nonce) > maxNonce {
			return known, 0, fmt.Errorf("nonce of %d bytes: %w", len(w.Nonce), ErrMalformed)
		}
		known = pipeline.NewSecret(string(w.Nonce))
	}
	if !hmac.Equal(w.Proof, supervisorProof([]byte(known.Reveal()), hello, w)) {
		return known, 0, fmt.Errorf("the supervisor is not the one that started this stage: %w", ErrNonce)
	}
	return known, w.Version, nil
}

// welcome is the supervisor's side of the hello.
func welcome(conn io.ReadWriter, t Ticket) (Peer, error) {
	if n := len(t.Nonce.Reveal()); n < minNonce || n > maxNonce {
		return Peer{}, fmt.Errorf("nonce of stage %q has %d bytes, not %d to %d", t.Name, n, minNonce, maxNonce)
	}
	hello, err := readHello(conn, true, recHello)
	if err != nil {
		return Peer{}, refuse(conn, magic, fmt.Errorf("read the hello: %w", err))
	}
	peer, knows, err := checkHello(hello, t)
	if err != nil {
		return peer, refuse(conn, magic, fmt.Errorf("check the hello: %w", err))
	}
	answer, err := answerHello(hello, peer.Version, knows, t)
	if err != nil {
		return peer, err
	}
	if _, err := conn.Write(appendRecord([]byte(magic), recWelcome, answer)); err != nil {
		return peer, fmt.Errorf("send the welcome: %w", err)
	}
	body, err := readHello(conn, false, recProof)
	if err != nil {
		return peer, refuse(conn, "", fmt.Errorf("read the proof: %w", err))
	}
	if err := checkProof(body, stageProof([]byte(t.Nonce.Reveal()), hello, answer)); err != nil {
		return peer, refuse(conn, "", fmt.Errorf("check the proof: %w", err))
	}
	if err := writeRecord(conn, recAccepted, nil); err != nil {
		return peer, fmt.Errorf("accept the stage: %w", err)
	}
	return peer, nil
}

func answerHello(hello []byte, version uint16, knows bool, t Ticket) ([]byte, error) {
	nonce := []byte(t.Nonce.Reveal())
	w := welcomeBody{Version: version, Challenge: challenge()}
	if !knows {
		w.Nonce = nonce
	}
	w.Proof = supervisorProof(nonce, hello, w)
	return json.Marshal(w)
}

func checkProof(body, want []byte) error {
	var p proofBody
	if err := decodeJSON(body, &p); err != nil {
		return err
	}
	if !hmac.Equal(p.Proof, want) {
		return fmt.Errorf("the stage was not started for this box: %w", ErrNonce)
	}
	return nil
}

func checkHello(body []byte, t Ticket) (peer Peer, knows bool, err error) {
	var h helloBody
	// A newer stage may say more: fields that are not known are passed over.
	if err := json.Unmarshal(body, &h); err != nil {
		return peer, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	peer = Peer{Version: min(h.Newest, NewestVersion), Kind: h.Kind, Name: t.Name, Program: clip(h.Program, maxName)}
	switch {
	case len(h.Challenge) != challengeSize || h.Oldest > h.Newest:
		return peer, false, fmt.Errorf("challenge of %d bytes, versions %d to %d: %w", len(h.Challenge), h.Oldest, h.Newest, ErrMalformed)
	case peer.Version < max(h.Oldest, OldestVersion):
		return peer, false, fmt.Errorf("the stage speaks versions %d to %d, the supervisor %d to %d: %w",
			h.Oldest, h.Newest, OldestVersion, NewestVersion, ErrVersion)
	case h.Kind != t.Kind || h.Name != "" && h.Name != t.Name:
		return peer, false, fmt.Errorf("%q %q where %s %q was started: %w",
			clip(string(h.Kind), maxName), clip(h.Name, maxName), t.Kind, t.Name, ErrIdentity)
	case !h.Knows && !t.Enroll:
		return peer, false, fmt.Errorf("the stage has no nonce, and this box was given one: %w", ErrNonce)
	}
	return peer, h.Knows, nil
}

// readHello reads one message of the hello, of a wanted type or a refusal.
func readHello(r io.Reader, first bool, want recordType) ([]byte, error) {
	if first {
		var begin [len(magic)]byte
		if _, err := io.ReadFull(r, begin[:]); err != nil {
			return nil, cut(err)
		}
		if !bytes.Equal(begin[:], []byte(magic)) {
			return nil, fmt.Errorf("begins with %q: %w", begin, ErrForeign)
		}
	}
	t, body, err := readRecord(r, nil, func(t recordType) int {
		if slices.Contains([]recordType{want, recRefuse}, t) {
			return MaxHello
		}
		return 0
	})
	if err != nil {
		return nil, cut(err)
	}
	if t != recRefuse {
		return body, nil
	}
	var refused refuseBody
	if err := decodeJSON(body, &refused); err != nil {
		return nil, err
	}
	return nil, &RefusedError{Code: clip(refused.Code, maxName), Reason: clip(refused.Reason, maxReason)}
}

// refuse tells the other side why, when it is for it to know, and returns err. begin is what comes
// before a side's first message.
func refuse(conn io.Writer, begin string, err error) error {
	told, ok := refusal(err)
	if !ok {
		return err
	}
	body, encodeErr := json.Marshal(told)
	if encodeErr != nil {
		return errors.Join(err, encodeErr)
	}
	conn.Write(appendRecord([]byte(begin), recRefuse, body)) //nolint:errcheck // the other side may be gone already
	return err
}

// within runs a hello and closes conn when it takes too long, so that it cannot hang.
func within(ctx context.Context, conn io.Closer, hello func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, helloTimeout, fmt.Errorf("hello not done within %s: %w", helloTimeout, ErrSilent))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := hello()
	if !stop() {
		return context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
	}
	return err
}
