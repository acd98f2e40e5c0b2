package bench

import (
	"context"
	"encoding/gob"
	"fmt"
	"os"
	"slices"
	"time"

	"gocv.io/x/gocv"

	"sightline/pipeline"
	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/clock"
	"sightline/sources/sim/scene"
)

// Size is the size of the cameras' pictures in pixels.
type Size struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// ParseSize reads a size such as 1920x1080: even numbers from 96 to 4096.
func ParseSize(text string) (Size, error) {
	var s Size
	n, err := fmt.Sscanf(text, "%dx%d", &s.Width, &s.Height)
	if err != nil || n != 2 || text != s.String() {
		return Size{}, fmt.Errorf("size %q: write it like 1920x1080", text)
	}
	for _, side := range []int{s.Width, s.Height} {
		if side < 96 || side > 4096 || side%2 != 0 {
			return Size{}, fmt.Errorf("size %q: both numbers must be even and from 96 to 4096", text)
		}
	}
	return s, nil
}

// String is like 1920x1080.
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.Width, s.Height) }

// Recording is what the cameras show, encoded beforehand: lap seconds of the demo's gate by day, with
// a clock that counts the pictures from 0, as H.264 without B-pictures, a keyframe every two seconds,
// at 4 Mbit/s for 1080p30 and in proportion for others.
type Recording struct {
	Size     Size
	FPS      int
	Encoder  string
	Pictures []sim.Picture
}

// lap is how many seconds of pictures there are before they come around again; a multiple of the two
// seconds from keyframe to keyframe.
const lap = 4

// Record renders and encodes the pictures, which takes some seconds for 1080p.
func Record(ctx context.Context, size Size, fps int) (*Recording, error) {
	options := encode.Options{
		Codec: pipeline.H264, Width: size.Width, Height: size.Height, FPS: fps, GOP: 2 * fps,
		BitRate: max(int(4e6*float64(size.Width*size.Height*fps)/(1920*1080*30)), 200_000),
	}
	encoder, err := encode.Open(options)
	if err != nil {
		return nil, err
	}
	defer encoder.Close()
	view, err := scene.New(scene.Options{Seed: 2, Width: size.Width, Height: size.Height})
	if err != nil {
		return nil, err
	}
	defer view.Close()
	r := &recorder{encoder: encoder, scene: view, out: &Recording{Size: size, FPS: fps, Encoder: encoder.Name()}}
	if err := r.record(ctx); err != nil {
		return nil, fmt.Errorf("record %s at %d fps: %w", size, fps, err)
	}
	return r.out, nil
}

type recorder struct {
	encoder *encode.Encoder
	scene   *scene.Scene
	out     *Recording
}

func (r *recorder) record(ctx context.Context) error {
	converter, err := encode.NewConverter(r.encoder.Options())
	if err != nil {
		return err
	}
	mat := gocv.NewMat()
	defer mat.Close()
	i420 := make([]byte, r.encoder.Options().PictureSize())
	for n := range lap * r.out.FPS {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.scene.Render(time.Duration(n)*time.Second/time.Duration(r.out.FPS), &mat); err != nil {
			return err
		}
		if err := gocv.CvtColor(mat, &mat, gocv.ColorBGRToRGB); err != nil {
			return err
		}
		rgb, err := mat.DataPtrUint8()
		if err != nil {
			return err
		}
		clock.DrawRGB(rgb, r.out.Size.Width, r.out.Size.Height, uint32(n))
		if err := converter.Convert(i420, rgb); err != nil {
			return err
		}
		if err := r.encoder.Encode(i420, int64(n)*encode.Clock/int64(r.out.FPS), r.keep); err != nil {
			return err
		}
	}
	if err := r.encoder.Drain(r.keep); err != nil {
		return err
	}
	if got, want := len(r.out.Pictures), lap*r.out.FPS; got != want {
		return fmt.Errorf("%s gave %d pictures for %d", r.encoder.Name(), got, want)
	}
	return nil
}

// keep copies an encoded picture. Without B-pictures they come in order.
func (r *recorder) keep(nals [][]byte, key bool, _ int64) error {
	if len(r.out.Pictures) == 0 && !key {
		return fmt.Errorf("%s began without a keyframe", r.encoder.Name())
	}
	var p sim.Picture
	for _, n := range nals {
		p.NALs = append(p.NALs, slices.Clone(n))
	}
	r.out.Pictures = append(r.out.Pictures, p)
	return nil
}

// BitRate is what the pictures have in bit/s.
func (r *Recording) BitRate() int {
	bytes := 0
	for _, p := range r.Pictures {
		for _, n := range p.NALs {
			bytes += len(n)
		}
	}
	return bytes * 8 * r.FPS / max(len(r.Pictures), 1)
}

// units are the pictures as a source would deliver them.
func (r *Recording) units() []*pipeline.Unit {
	units := make([]*pipeline.Unit, len(r.Pictures))
	for i, p := range r.Pictures {
		units[i] = &pipeline.Unit{Codec: pipeline.H264, NALs: p.NALs, Keyframe: i%(2*r.FPS) == 0}
	}
	return units
}

// Save writes the recording to a file.
func (r *Recording) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("save recording: %w", err)
	}
	if err := gob.NewEncoder(f).Encode(r); err != nil {
		f.Close()
		return fmt.Errorf("save recording %q: %w", path, err)
	}
	return f.Close()
}

// Load reads what Save wrote.
func Load(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load recording: %w", err)
	}
	defer f.Close()
	r := &Recording{}
	if err := gob.NewDecoder(f).Decode(r); err != nil {
		return nil, fmt.Errorf("load recording %q: %w", path, err)
	}
	return r, nil
}
