package rtsp_test

import (
	"context"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources/rtsp"
)

// BenchmarkReceive receives pictures of 4 Mbit/s at 30 a second as fast as they can be sent over TCP on
// loopback, sender included. What is allocated is gortsplib's: packets, and fragments put together.
func BenchmarkReceive(b *testing.B) {
	const size = 4_000_000 / 8 / 30
	encode := encoder(pipeline.H264, 96)
	s := &scripted{}
	for n := range uint32(b.N) {
		packets, err := encode(makePicture(pipeline.H264, n, size))
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range packets {
			p.Timestamp = n * 3000
			raw, err := p.Marshal()
			if err != nil {
				b.Fatal(err)
			}
			s.packets = append(s.packets, raw)
		}
	}
	config := s.start(b)
	config.Stall = time.Minute
	env, _ := environment(&network{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	n := 0
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	err := (&rtsp.Source{Config: config}).Receive(ctx, env, func(*pipeline.Unit) {
		if n++; n == b.N {
			cancel()
		}
	})
	b.StopTimer()
	if n < b.N {
		b.Fatalf("%d pictures of %d: %v", n, b.N, err)
	}
}
