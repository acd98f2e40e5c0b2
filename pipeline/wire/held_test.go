package wire

import (
	"slices"
	"testing"

	"sightline/pipeline"
)

func TestWhatIsHeldIsAcknowledgedWhenTheUpstreamHasItAndComesOnce(t *testing.T) {
	h := NewHeld()
	var taken []int
	give := func(n int) {
		t.Helper()
		r := newResult(n)
		if err := h.deliver(t.Context(), pipeline.Message{Result: r}, func() { taken = append(taken, n) }); err != nil {
			t.Fatal(err)
		}
	}
	seen := func() (list []uint64) {
		for _, m := range h.Peek(10, nil) {
			list = append(list, m.Result.Sequence)
		}
		return list
	}
	for n := range 4 {
		give(n)
	}
	give(2) // again, over another wire, or because the sender has it twice
	if got := seen(); !slices.Equal(got, []uint64{0, 1, 2, 3}) || len(taken) > 0 {
		t.Fatalf("%v are held, %v taken", got, taken)
	}
	h.Ack(3)
	if !slices.Equal(taken, []int{0, 1, 2, 2}) { // both times: messages are acknowledged in their order
		t.Errorf("%v taken, want 0, 1 and 2, which came twice", taken)
	}
	give(1) // its acknowledgement was lost
	if got := seen(); !slices.Equal(got, []uint64{3}) || !slices.Equal(taken, []int{0, 1, 2, 2, 1}) {
		t.Errorf("%v are held, %v taken", got, taken)
	}
}

func TestEventsCrossAsTheyAre(t *testing.T) {
	e := &pipeline.Event{Schema: pipeline.SchemaVersion, ID: "a-0", Event: "a", Type: pipeline.EventNew, Class: "car", Best: 0.5}
	kind, body, err := encodeMessage(pipeline.Message{Event: e}, nil)
	if err != nil || kind != recEvent {
		t.Fatal(kind, err)
	}
	m, err := decodeMessage(kind, body, nil)
	if err != nil || m.Event == nil || *m.Event != *e {
		t.Fatalf("%+v, %v", m.Event, err)
	}
	e.Type = "born"
	if _, _, err := encodeMessage(pipeline.Message{Event: e}, nil); err == nil {
		t.Error("an event of an unknown type is sent")
	}
}
