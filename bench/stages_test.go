package bench

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sightline/models"
	"sightline/models/gate"
	"sightline/models/onnx"
	"sightline/models/onnx/library"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sinks/broker"
	"sightline/sources/decode"
	"sightline/sources/picture"
	"sightline/sources/scale"
)

// The card of MobileNetV2 as in the test data, for `sightline bench --card`.
const mobilenetCard = "testdata/mobilenet_v2.yaml"

func mobilenet(t testing.TB) string {
	return filepath.Join(pipelinetest.TestData(t), "models", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits.onnx")
}

// recordings are made once for all benchmarks.
var recordings struct {
	sync.Once
	recording *Recording
	err       error
}

func recording(t testing.TB) *Recording {
	recordings.Do(func() {
		recordings.recording, recordings.err = Record(t.Context(), Size{1920, 1080}, 30)
	})
	if recordings.err != nil {
		t.Fatal(recordings.err)
	}
	return recordings.recording
}

// classifier opens a model, or skips where ONNX Runtime is not found.
func classifier(t testing.TB, o onnx.Options) pipeline.Classifier {
	if _, _, err := library.Find(""); err != nil {
		t.Skip(err)
	}
	r, err := onnx.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	c, err := onnx.Open(r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func gateModel(t testing.TB) onnx.Options {
	card, err := models.ParseCard("gate.yaml", gate.Card())
	if err != nil {
		t.Fatal(err)
	}
	return onnx.Options{Path: "gate", Bytes: gate.Model(), Card: card}
}

func BenchmarkDecode(b *testing.B) {
	units := recording(b).units()
	d, err := decode.Open(decode.Options{Codec: pipeline.H264})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	n, pictures := 0, 0
	one := func() {
		if err := d.Decode(units[n%len(units)], uint64(n+1), func(*picture.Picture) { pictures++ }); err != nil {
			b.Fatal(err)
		}
		n++
	}
	for range warming {
		one()
	}
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
	if pictures != n {
		b.Errorf("%d pictures out of %d units", pictures, n)
	}
}

func BenchmarkScale(b *testing.B) {
	d, err := decode.Open(decode.Options{Codec: pipeline.H264})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	wish := pipeline.Wish{Width: 224, Height: 224, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}
	var scaler scale.Scaler
	defer scaler.Close()
	data := make([]byte, wish.Width*wish.Height*3)
	err = d.Decode(recording(b).units()[0], 1, func(p *picture.Picture) {
		one := func() {
			if err := scaler.Scale(p, &wish, pipeline.Whole, data); err != nil {
				b.Fatal(err)
			}
		}
		one() // it makes a plan for pictures of this kind
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}

// each runs a benchmark with the built-in model and with MobileNetV2.
func each(b *testing.B, do func(b *testing.B, options func(testing.TB) onnx.Options)) {
	b.Run("gate", func(b *testing.B) { do(b, gateModel) })
	b.Run("mobilenet_v2", func(b *testing.B) {
		do(b, func(t testing.TB) onnx.Options { return onnx.Options{Path: mobilenet(t), CardPath: mobilenetCard} })
	})
}

func BenchmarkPrepare(b *testing.B) {
	each(b, func(b *testing.B, options func(testing.TB) onnx.Options) {
		o := options(b)
		file := models.NewFile(o.Path, o.Bytes)
		if o.Bytes == nil {
			var err error
			if file, err = models.ReadFile(o.Path); err != nil {
				b.Fatal(err)
			}
		}
		fit, err := file.Fit(o.Card, o.CardPath)
		if err != nil {
			b.Fatal(err)
		}
		fill, frame, err := preparer(fit)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			fill(frame)
		}
	})
}

func BenchmarkInfer(b *testing.B) {
	each(b, func(b *testing.B, options func(testing.TB) onnx.Options) {
		c := classifier(b, options(b))
		w := c.Wish()
		var pool pipeline.FramePool
		f := pool.New(w.Width, w.Height)
		f.Color = w.Color
		frames, answers := []*pipeline.Frame{f}, make([]pipeline.Answer, 1)
		one := func() {
			if err := c.Classify(b.Context(), frames, answers); err != nil {
				b.Fatal(err)
			}
		}
		for range warming {
			one()
		}
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
}

// BenchmarkLine is decode, scale and infer of one picture after another, with pooled frames.
func BenchmarkLine(b *testing.B) {
	each(b, func(b *testing.B, options func(testing.TB) onnx.Options) {
		c := classifier(b, options(b))
		d, err := decode.Open(decode.Options{Codec: pipeline.H264})
		if err != nil {
			b.Fatal(err)
		}
		defer d.Close()
		units := recording(b).units()
		l := &line{classifier: c, wish: stretched(c.Wish()), decoder: d}
		defer l.scaler.Close()
		n := 0
		one := func() {
			if err := l.one(b.Context(), units[n%len(units)], uint64(n+1)); err != nil {
				b.Fatal(err)
			}
			l.meter = meter{
				decode: watch{times: l.meter.decode.times[:0]}, scale: watch{times: l.meter.scale.times[:0]},
				infer: watch{times: l.meter.infer.times[:0]}, chain: l.meter.chain[:0],
			}
			n++
		}
		for range warming {
			one()
		}
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
}

// BenchmarkPublish hands one result after another to a broker in this process, whose work is in the
// figure, and waits for each acknowledgement.
func BenchmarkPublish(b *testing.B) {
	server, err := broker.Start(broker.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	sink, err := openSink(b.Context(), server.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer sink.Close(b.Context())
	messages := []pipeline.Message{{Result: sampleResult()}}
	b.ReportAllocs()
	for b.Loop() {
		if err := sink.Deliver(b.Context(), messages); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheCardOfMobileNetFits(t *testing.T) {
	if _, _, err := models.Check(mobilenet(t), mobilenetCard); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("testdata/mobilenet_v2.labels.txt"); err != nil {
		t.Error(err)
	}
}
