package scale

import (
	"bytes"
	goimage "image"
	_ "image/jpeg"
	_ "image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/decode"
	"sightline/sources/nal"
	"sightline/sources/picture"
)

// difference returns the largest and the mean difference in levels.
func difference(a, b []byte) (most int, mean float64) {
	for i := range a {
		d := int(a[i]) - int(b[i])
		if d < 0 {
			d = -d
		}
		most = max(most, d)
		mean += float64(d)
	}
	return most, mean / float64(len(a))
}

var wishes = []pipeline.Wish{
	{Width: 224, Height: 224, Color: pipeline.RGB, Resize: pipeline.ResizeStandard},
	{Width: 224, Height: 224, Color: pipeline.BGR, Resize: pipeline.ResizeCrop, CropFraction: 0.875},
	{Width: 224, Height: 224, Color: pipeline.RGB, Resize: pipeline.ResizeCrop},
	{Width: 128, Height: 128, Color: pipeline.RGB, Resize: pipeline.ResizeLetterbox, Pad: 114},
	{Width: 299, Height: 199, Color: pipeline.RGB, Resize: pipeline.ResizeFit, Pad: 7},
	{Width: 28, Height: 28, Color: pipeline.RGB, Resize: pipeline.ResizeStandard},
	{Width: 500, Height: 477, Color: pipeline.RGB, Resize: pipeline.ResizeStandard},
}

var regions = []pipeline.Region{
	{Name: "driveway", Left: 0, Top: 0.4, Right: 1, Bottom: 1},
	{Name: "odd", Left: 0.1234, Top: 0.2, Right: 0.777, Bottom: 0.9111},
	{Name: "tiny", Left: 0.5, Top: 0.5, Right: 0.51, Bottom: 0.513},
}

// compare checks wishes and regions of one picture against the reference: every wish for the whole
// picture, and in turn for one of its parts.
func compare(t *testing.T, p *picture.Picture, limit int) {
	t.Helper()
	var s, portable Scaler
	portable.portable = true
	defer s.Close()
	defer portable.Close()
	full := referenceRGB(p)
	worst, mean := 0, 0.0
	for i := range wishes {
		if p.Width > 1000 && i%3 != 0 {
			continue // the reference is slow
		}
		w := &wishes[i]
		for _, r := range []pipeline.Region{pipeline.Whole, regions[i%len(regions)]} {
			found, same := make([]byte, w.Width*w.Height*3), make([]byte, w.Width*w.Height*3)
			if err := s.Scale(p, w, r, found); err != nil {
				t.Fatal(err)
			}
			if err := portable.Scale(p, w, r, same); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(found, same) {
				t.Errorf("%s of %q: the portable way gives something else", w.Resize, r.Name)
			}
			most, average := difference(found, reference(full, w, r))
			if most > limit {
				t.Errorf("%d×%d %s of %q: off by up to %d levels, %.3f on average", w.Width, w.Height, w.Resize, r.Name, most, average)
			}
			worst, mean = max(worst, most), max(mean, average)
		}
	}
	t.Logf("off by up to %d levels, at most %.3f on average", worst, mean)
}

// moment decodes a stream up to a picture and hands it over.
func moment(t *testing.T, file string, number int, use func(*picture.Picture)) {
	t.Helper()
	codec := pipeline.H264
	if strings.HasSuffix(file, ".mjpeg") {
		codec = pipeline.MJPEG
	}
	stream, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	units := [][][]byte{{stream}}
	if codec != pipeline.MJPEG {
		units = nal.AccessUnits(codec, nal.Split(stream, nil))
	}
	d, err := decode.Open(decode.Options{Codec: codec, Decoder: decode.Software})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	count := 0
	take := func(p *picture.Picture) {
		if count++; count == number {
			use(p)
		}
	}
	for i, nals := range units {
		if err := d.Decode(&pipeline.Unit{NALs: nals}, uint64(i+1), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Drain(take); err != nil {
		t.Fatal(err)
	}
	if count < number {
		t.Fatalf("%s has %d pictures", file, count)
	}
}

func TestVideoIsScaledAsPillowDoes(t *testing.T) {
	videos := filepath.Join(pipelinetest.TestData(t), "videos")
	tests := []struct {
		file   string
		number int
	}{
		{"derived/car_baseline_4slices_aud.h264", 50},
		{"derived/person_interlaced_mbaff_768x576i25.h264", 100},
		{"odd/libvpl_cars_320x240.h264", 20},
		{"odd/libvpl_cars_320x240.mjpeg", 1},
		{"h264_conformance/jm_1080p_allslice.264", 1},
		{"h264_conformance/VID_1280x720_cabac_temporal_direct.264", 200},
		{"h264_conformance/CVFC1_Sony_C.jsv", 30},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			moment(t, filepath.Join(videos, tt.file), tt.number, func(p *picture.Picture) { compare(t, p, 2) })
		})
	}
}

func TestPhotosAreScaledAsPillowDoes(t *testing.T) {
	folder := filepath.Join(pipelinetest.TestData(t), "images")
	for _, name := range []string{"coral_cat_720p.jpg", "ort_fish.png"} {
		t.Run(name, func(t *testing.T) {
			file, err := os.Open(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			img, _, err := goimage.Decode(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := picture.FromImage(img)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, p, 2)
		})
	}
}

// layouts are pixel formats as decoders give them.
var layouts = []struct {
	name              string
	model             picture.Model
	subX, subY        uint8
	depth, shift      uint8
	full, interleaved bool
}{
	{"yuv420p", picture.YUV, 1, 1, 8, 0, false, false},
	{"yuvj420p", picture.YUV, 1, 1, 8, 0, true, false},
	{"yuv422p", picture.YUV, 1, 0, 8, 0, false, false},
	{"yuv444p", picture.YUV, 0, 0, 8, 0, false, false},
	{"yuv411p", picture.YUV, 2, 0, 8, 0, false, false},
	{"nv12", picture.YUV, 1, 1, 8, 0, false, true},
	{"yuv420p10", picture.YUV, 1, 1, 10, 0, false, false},
	{"p010", picture.YUV, 1, 1, 10, 6, false, true},
	{"yuv422p12", picture.YUV, 1, 0, 12, 0, false, false},
	{"gray", picture.Gray, 0, 0, 8, 0, true, false},
	{"gray10", picture.Gray, 0, 0, 10, 0, false, false},
	{"gbrp", picture.RGB, 0, 0, 8, 0, true, false},
	{"rgb24", picture.RGB, 0, 0, 8, 0, true, true},
}

// synthetic makes a smooth picture with edges in a layout; its colours are within RGB.
func synthetic(width, height, layout int) *picture.Picture {
	l := layouts[layout]
	p := &picture.Picture{
		Width: width, Height: height, Model: l.model, Matrix: picture.BT601, FullRange: l.full,
		SubX: l.subX, SubY: l.subY, Depth: l.depth, Shift: l.shift,
	}
	bytes := 1
	if l.depth > 8 {
		bytes = 2
	}
	random := rand.New(rand.NewPCG(1, uint64(layout)))
	var pair []byte // that interleaved components share
	for i := range p.Count() {
		w, h := p.Size(i)
		c := picture.Component{Step: bytes, Stride: w*bytes + 5}
		c.Data = make([]byte, h*c.Stride)
		if l.interleaved && (l.model == picture.RGB || i > 0) {
			c.Step = bytes * 2
			first := i == 1
			if l.model == picture.RGB {
				c.Step, first = bytes*3, i == 0
			}
			c.Stride = w*c.Step + 6
			if first {
				pair = make([]byte, h*c.Stride)
				c.Data = pair
			} else if l.model == picture.RGB {
				c.Data = pair[i*bytes:]
			} else {
				c.Data = pair[bytes:]
			}
		}
		for y := range h {
			for x := range w {
				v := 60 + (x*120/w+y*60/h+random.IntN(6))%140
				if i > 0 && l.model == picture.YUV {
					v = 118 + (x*20/w+y*10/h+i)%20
				}
				v = v << (l.depth - 8) << l.shift
				c.Data[y*c.Stride+x*c.Step] = byte(v)
				if bytes == 2 {
					c.Data[y*c.Stride+x*c.Step+1] = byte(v >> 8)
				}
			}
		}
		p.Components[i] = c
	}
	return p
}

func TestEveryLayoutIsScaledAsPillowDoes(t *testing.T) {
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			for _, size := range [][2]int{{321, 243}, {35, 28}} {
				p := synthetic(size[0], size[1], i)
				if err := p.Check(); err != nil {
					t.Fatal(err)
				}
				compare(t, p, 2)
			}
		})
	}
}

func TestAPictureOfItsOwnSizeIsNotChanged(t *testing.T) {
	rgb := make([]byte, 37*23*3)
	for i := range rgb {
		rgb[i] = byte(i * 31)
	}
	p, err := picture.FromRGB(rgb, 37, 23)
	if err != nil {
		t.Fatal(err)
	}
	var s Scaler
	defer s.Close()
	out := make([]byte, len(rgb))
	for _, resize := range []pipeline.ResizeType{"", pipeline.ResizeStandard, pipeline.ResizeCrop, pipeline.ResizeFit, pipeline.ResizeLetterbox} {
		if err := s.Scale(p, &pipeline.Wish{Width: 37, Height: 23, Resize: resize}, pipeline.Whole, out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, rgb) {
			t.Errorf("%q changes a picture that has the wished size", resize)
		}
	}
}

func TestWhatIsOutsideOfARegionDoesNotShow(t *testing.T) {
	rgb := bytes.Repeat([]byte{10, 20, 30}, 100*100)
	for y := 20; y < 60; y++ {
		copy(rgb[(y*100+10)*3:], bytes.Repeat([]byte{200, 210, 220}, 40))
	}
	p, err := picture.FromRGB(rgb, 100, 100)
	if err != nil {
		t.Fatal(err)
	}
	var s Scaler
	defer s.Close()
	out := make([]byte, 7*7*3)
	region := pipeline.Region{Name: "inner", Left: 0.1, Top: 0.2, Right: 0.5, Bottom: 0.6}
	if err := s.Scale(p, &pipeline.Wish{Width: 7, Height: 7}, region, out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out, bytes.Repeat([]byte{200, 210, 220}, 49)) {
		t.Errorf("the frame holds %v", out)
	}
}

func TestWishesThatCannotBeMetAreErrors(t *testing.T) {
	p := synthetic(64, 48, 0)
	good := pipeline.Wish{Width: 8, Height: 8}
	tests := []struct {
		name   string
		change func(*pipeline.Wish, *pipeline.Region, *picture.Picture)
		want   string
	}{
		{"no width", func(w *pipeline.Wish, _ *pipeline.Region, _ *picture.Picture) { w.Width = 0 }, "0×8"},
		{"too large", func(w *pipeline.Wish, _ *pipeline.Region, _ *picture.Picture) { w.Height = 9000 }, "8×9000"},
		{"unknown type", func(w *pipeline.Wish, _ *pipeline.Region, _ *picture.Picture) { w.Resize = "squeeze" }, `"squeeze"`},
		{"crop fraction", func(w *pipeline.Wish, _ *pipeline.Region, _ *picture.Picture) {
			w.Resize, w.CropFraction = pipeline.ResizeCrop, 1.5
		}, "1.5"},
		{"tiny crop fraction", func(w *pipeline.Wish, _ *pipeline.Region, _ *picture.Picture) {
			w.Resize, w.CropFraction = pipeline.ResizeCrop, 1e-9
		}, "1e-09"},
		{"region outside", func(_ *pipeline.Wish, r *pipeline.Region, _ *picture.Picture) { r.Right = 1.1 }, "within the picture"},
		{"region of nothing", func(_ *pipeline.Wish, r *pipeline.Region, _ *picture.Picture) { r.Left = 1 }, "within the picture"},
		{"short component", func(_ *pipeline.Wish, _ *pipeline.Region, p *picture.Picture) {
			p.Components[2].Data = p.Components[2].Data[:9]
		}, "component 2"},
		{"no size", func(_ *pipeline.Wish, _ *pipeline.Region, p *picture.Picture) { p.Width = 0 }, "0×48"},
	}
	var s Scaler
	defer s.Close()
	for _, tt := range tests {
		w, r, p := good, pipeline.Whole, *p
		tt.change(&w, &r, &p)
		err := s.Scale(&p, &w, r, make([]byte, w.Width*w.Height*3))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %s", tt.name, err, tt.want)
		}
	}
	if err := s.Scale(p, &good, pipeline.Whole, make([]byte, 7)); err == nil {
		t.Error("7 bytes for a frame of 8×8 are no error")
	}
}

func TestScalingAllocatesNothingAndForgetsOldPlans(t *testing.T) {
	p := synthetic(320, 240, 0)
	var s Scaler
	defer s.Close()
	w, out := pipeline.Wish{Width: 64, Height: 64, Resize: pipeline.ResizeLetterbox}, make([]byte, 64*64*3)
	if found := testing.AllocsPerRun(100, func() {
		if err := s.Scale(p, &w, pipeline.Whole, out); err != nil {
			t.Fatal(err)
		}
	}); found != 0 {
		t.Errorf("%v allocations a picture", found)
	}
	for i := range 3 * maxPlans {
		w.Width = i + 1
		if err := s.Scale(p, &w, pipeline.Whole, make([]byte, w.Width*64*3)); err != nil {
			t.Fatal(err)
		}
		if len(s.plans) > maxPlans {
			t.Fatalf("%d plans are kept", len(s.plans))
		}
	}
}

func FuzzScale(f *testing.F) {
	f.Add(uint8(0), uint16(64), uint16(48), uint16(8), uint16(9), uint8(0), 0.875, 0.0, 0.0, 1.0, 1.0)
	f.Add(uint8(7), uint16(17), uint16(5), uint16(300), uint16(2), uint8(1), 0.5, 0.1, 0.2, 0.3, 0.9)
	f.Add(uint8(12), uint16(1), uint16(1), uint16(1), uint16(1), uint8(3), 1.0, 0.0, 0.0, 1.0, 1.0)
	types := []pipeline.ResizeType{pipeline.ResizeStandard, pipeline.ResizeCrop, pipeline.ResizeFit, pipeline.ResizeLetterbox}
	f.Fuzz(func(t *testing.T, layout uint8, width, height, frameW, frameH uint16, resize uint8, crop, left, top, right, bottom float64) {
		if width == 0 || height == 0 || width > 600 || height > 600 || frameW > 400 || frameH > 400 {
			return
		}
		p := synthetic(int(width), int(height), int(layout)%len(layouts))
		w := pipeline.Wish{Width: int(frameW), Height: int(frameH), Resize: types[int(resize)%len(types)], CropFraction: crop}
		r := pipeline.Region{Left: left, Top: top, Right: right, Bottom: bottom}
		fast, portable := Scaler{}, Scaler{portable: true}
		defer fast.Close()
		defer portable.Close()
		a, b := make([]byte, w.Width*w.Height*3), make([]byte, w.Width*w.Height*3)
		errA, errB := fast.Scale(p, &w, r, a), portable.Scale(p, &w, r, b)
		if (errA == nil) != (errB == nil) || !bytes.Equal(a, b) {
			t.Errorf("the fast and the portable way differ: %v, %v", errA, errB)
		}
	})
}

func BenchmarkScale1080p(b *testing.B) {
	p := synthetic(1920, 1080, 0)
	w, out := pipeline.Wish{Width: 224, Height: 224, Color: pipeline.RGB}, make([]byte, 224*224*3)
	for _, portable := range []bool{false, true} {
		name := map[bool]string{false: "fast", true: "portable"}[portable]
		b.Run(name, func(b *testing.B) {
			s := Scaler{portable: portable}
			defer s.Close()
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Scale(p, &w, pipeline.Whole, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
