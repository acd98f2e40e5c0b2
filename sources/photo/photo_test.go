package photo

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/picture"
)

func TestAJPEGLooksAsItsRGBDoes(t *testing.T) {
	data := pipelinetest.TestData(t)
	for _, name := range []string{"jetson_banana_0.jpg", "coral_cat_720p.jpg", "jetson_stingray.jpg", "ort_fish.png"} {
		text, err := os.ReadFile(filepath.Join(data, "images", name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		decoded, format, err := image.Decode(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if b := decoded.Bounds(); p.Width != b.Dx() || p.Height != b.Dy() || p.Format != format {
			t.Errorf("%s is %s %d×%d", name, p.Format, p.Width, p.Height)
		}
		byRGB := &Photo{}
		if byRGB.picture, err = picture.FromImage(decoded); err != nil {
			t.Fatal(err)
		}
		defer byRGB.Close()
		for _, resize := range []pipeline.ResizeType{pipeline.ResizeStandard, pipeline.ResizeCrop} {
			w := pipeline.Wish{Width: 224, Height: 224, Color: pipeline.BGR, Resize: resize, CropFraction: 0.875}
			a, b := frame(t, p, w), frame(t, byRGB, w)
			if difference := distance(a, b); difference > 1 {
				t.Errorf("%s, %s: %.2f levels from what RGB gives", name, resize, difference)
			}
		}
	}
}

func frame(t *testing.T, p *Photo, w pipeline.Wish) []byte {
	t.Helper()
	data, err := p.Frame(w)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// distance is the mean difference of two frames in levels.
func distance(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += max(d, -d)
	}
	return sum / float64(len(a))
}

func TestEveryKindOfPictureIsRead(t *testing.T) {
	gray, orange := image.NewGray(image.Rect(0, 0, 33, 17)), image.NewNRGBA(image.Rect(0, 0, 33, 17))
	for i := range gray.Pix {
		gray.Pix[i] = 77
	}
	for y := range 17 {
		for x := range 33 {
			orange.SetNRGBA(x, y, color.NRGBA{250, 120, 10, 255})
		}
	}
	files := map[string]struct {
		picture image.Image
		encode  func(*bytes.Buffer, image.Image) error
		want    [3]float64
	}{
		"gray jpeg":  {gray, asJPEG, [3]float64{77, 77, 77}},
		"gray png":   {gray, asPNG, [3]float64{77, 77, 77}},
		"color jpeg": {orange, asJPEG, [3]float64{250, 120, 10}},
		"color png":  {orange, asPNG, [3]float64{250, 120, 10}},
	}
	for name, f := range files {
		var text bytes.Buffer
		if err := f.encode(&text, f.picture); err != nil {
			t.Fatal(err)
		}
		p, err := Read(bytes.NewReader(text.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		got := frame(t, p, pipeline.Wish{Width: 8, Height: 8, Color: pipeline.RGB})
		for c, want := range f.want {
			if v := float64(got[3*9+c]); v < want-3 || v > want+3 {
				t.Errorf("%s: channel %d is %g, want %g", name, c, v, want)
			}
		}
		p.Close()
	}
}

func asJPEG(w *bytes.Buffer, i image.Image) error { return jpeg.Encode(w, i, nil) }
func asPNG(w *bytes.Buffer, i image.Image) error  { return png.Encode(w, i) }

func TestEverySubsamplingIsHandedOver(t *testing.T) {
	ratios := []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
		image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410, 99,
	}
	for _, ratio := range ratios {
		decoded := image.NewYCbCr(image.Rect(0, 0, 37, 23), ratio)
		for i := range decoded.Y {
			decoded.Y[i] = 120
		}
		for i := range decoded.Cb {
			decoded.Cb[i], decoded.Cr[i] = 90, 200
		}
		p := &Photo{}
		var err error
		if p.picture, err = convert(decoded); err != nil {
			t.Fatalf("%v: %v", ratio, err)
		}
		if yuv := p.picture.Model == picture.YUV; yuv != (ratio < 10) {
			t.Errorf("%v is handed over as it is: %v", ratio, yuv)
		}
		r, g, b, _ := decoded.At(20, 11).RGBA()
		got := frame(t, p, pipeline.Wish{Width: 8, Height: 8, Color: pipeline.RGB})
		if distance(got[:3], []byte{byte(r >> 8), byte(g >> 8), byte(b >> 8)}) > 2 {
			t.Errorf("%v: %v, want %d %d %d", ratio, got[:3], r>>8, g>>8, b>>8)
		}
		p.Close()
	}
}

// claims is the head of a PNG file that says how large it is, and nothing else.
func claims(width, height uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	file := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(file, chunk...), crc32.ChecksumIEEE(chunk))
}

func TestWhatIsNoPictureIsRefused(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		write("text", []byte("hello")):             "neither a JPEG nor a PNG",
		write("empty", nil):                        "neither a JPEG nor a PNG",
		write("bomb", claims(16384, 16384)):        "16384×16384 pixels",
		write("tall", claims(1, 1<<20)):            "1×1048576 pixels",
		write("cut", claims(10, 10)):               "decode",
		filepath.Join(folder, "none"):              "no such file",
		folder:                                     "not a regular file",
		pipe:                                       "not a regular file",
		write("jpeg", []byte("\xff\xd8\xff\xd9x")): "picture",
	}
	for path, want := range tests {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %q of %q", err, want, path)
		}
	}
}

func FuzzRead(f *testing.F) {
	var small bytes.Buffer
	if err := jpeg.Encode(&small, image.NewGray(image.Rect(0, 0, 9, 7)), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(small.Bytes())
	f.Add(claims(3, 3))
	f.Add(claims(1<<15, 1<<11))
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := Read(bytes.NewReader(file))
		if err != nil || p.Width*p.Height > 1<<20 {
			return
		}
		defer p.Close()
		if _, err := p.Frame(pipeline.Wish{Width: 16, Height: 16, Color: pipeline.RGB, Resize: pipeline.ResizeLetterbox}); err != nil {
			t.Errorf("%d×%d: %v", p.Width, p.Height, err)
		}
	})
}
