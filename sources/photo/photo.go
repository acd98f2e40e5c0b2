// Package photo reads a picture file and brings it to what a model wants to see, by the same scaler as a camera's
// pictures: what a model says of it is what it would say of the same picture from a camera.
package photo

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the formats that Read knows
	_ "image/png"
	"io"
	"os"
	"syscall"

	"sightline/pipeline"
	"sightline/sources/picture"
	"sightline/sources/scale"
)

const (
	maxBytes  = 64 << 20
	maxPixels = 64 << 20 // of the decoded picture: 256 MiB at four bytes
)

// Photo is a decoded picture. It is used from one goroutine at a time.
type Photo struct {
	Format        string // jpeg or png
	Width, Height int
	picture       *picture.Picture
	scaler        scale.Scaler
}

// Open reads a picture file: JPEG or PNG, at most 64 MiB, at most 64 million pixels. How the camera was held (EXIF) and
// transparency are ignored.
func Open(path string) (*Photo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // does not wait for a named pipe
	if err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("picture %q: %w", path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("picture %q: not a regular file", path)
	case info.Size() > maxBytes:
		return nil, fmt.Errorf("picture %q: it has %d bytes, more than the %d that are allowed", path, info.Size(), maxBytes)
	}
	p, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("picture %q: %w", path, err)
	}
	return p, nil
}

// Read is Open of what was opened. The size that the head of the file claims is checked before anything is decoded.
func Read(r io.ReadSeeker) (*Photo, error) {
	head, format, err := image.DecodeConfig(bufio.NewReader(r))
	if errors.Is(err, image.ErrFormat) {
		return nil, errors.New("neither a JPEG nor a PNG file")
	}
	if err != nil {
		return nil, err
	}
	if head.Width < 1 || head.Height < 1 || head.Width > 1<<15 || head.Height > 1<<15 || head.Width*head.Height > maxPixels {
		return nil, fmt.Errorf("%d×%d pixels: each side must be between 1 and %d, and all together at most %d", head.Width, head.Height, 1<<15, maxPixels)
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	decoded, _, err := image.Decode(bufio.NewReader(io.LimitReader(r, maxBytes)))
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	p := &Photo{Format: format, Width: decoded.Bounds().Dx(), Height: decoded.Bounds().Dy()}
	p.picture, err = convert(decoded)
	return p, err
}

// convert hands the components over as they are, as a decoder does with a camera's JPEG pictures; what it does not know
// goes by way of RGB.
func convert(decoded image.Image) (*picture.Picture, error) {
	b := decoded.Bounds()
	p := &picture.Picture{Width: b.Dx(), Height: b.Dy(), Depth: 8, FullRange: true, Matrix: picture.BT601}
	switch i := decoded.(type) {
	case *image.YCbCr:
		x, y, known := subsampling(i.SubsampleRatio)
		if !known || b.Min != (image.Point{}) {
			return picture.FromImage(decoded)
		}
		p.Model, p.SubX, p.SubY = picture.YUV, x, y
		p.Components = [3]picture.Component{
			{Data: i.Y, Stride: i.YStride, Step: 1},
			{Data: i.Cb, Stride: i.CStride, Step: 1},
			{Data: i.Cr, Stride: i.CStride, Step: 1},
		}
	case *image.Gray:
		p.Model = picture.Gray
		p.Components[0] = picture.Component{Data: i.Pix, Stride: i.Stride, Step: 1}
	default:
		return picture.FromImage(decoded)
	}
	return p, p.Check()
}

// subsampling is how many pixels share a chroma sample, as binary logarithms.
func subsampling(r image.YCbCrSubsampleRatio) (x, y uint8, known bool) {
	switch r {
	case image.YCbCrSubsampleRatio444:
		return 0, 0, true
	case image.YCbCrSubsampleRatio422:
		return 1, 0, true
	case image.YCbCrSubsampleRatio420:
		return 1, 1, true
	case image.YCbCrSubsampleRatio440:
		return 0, 1, true
	case image.YCbCrSubsampleRatio411:
		return 2, 0, true
	case image.YCbCrSubsampleRatio410:
		return 2, 1, true
	}
	return 0, 0, false
}

// Frame returns the picture as a model wishes it: Width×Height×3 bytes. Of the wish's regions none is looked at.
func (p *Photo) Frame(w pipeline.Wish) ([]byte, error) {
	if w.Width < 1 || w.Height < 1 || w.Width > 8192 || w.Height > 8192 {
		return nil, fmt.Errorf("a frame of %d×%d", w.Width, w.Height)
	}
	data := make([]byte, w.Width*w.Height*3)
	if err := p.scaler.Scale(p.picture, &w, pipeline.Whole, data); err != nil {
		return nil, err
	}
	return data, nil
}

// Close frees what the scaler remembers.
func (p *Photo) Close() { p.scaler.Close() }
