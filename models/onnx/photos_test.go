package onnx

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg"
	_ "image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

// Cards of ours for the models of the test data; labels come by the path beside them.
var photoModels = []struct {
	model, labels, card string
	// photos on which the weak model is known to be right; nil: on all
	only []string
}{
	{"mobilenet_v2_1.0_224_u8nhwc", "imagenet_labels_1001_background.txt", "background: true\ncolor: rgb\nactivation: none\n", nil},
	// The same model with the list of 1000 labels, to which the card adds the background.
	{"mobilenet_v2_1.0_224_u8nhwc", "imagenet_synset_1000.txt", "background: true\ncolor: rgb\nactivation: none\ndtype: uint8\nlayout: nhwc\n", nil},
	{"mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits", "imagenet_labels_1001_background.txt",
		"background: 0\ncolor: rgb\nactivation: softmax\nscale: 255\nmean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]\n", nil},
	{"squeezenet1.1_fp32", "imagenet_labels_map_1000.json", "color: bgr\nactivation: none\nscale: 1\nmean: [104, 117, 123]\n", nil},
	{"squeezenet1.1_fp32", "imagenet_labels_index_csv_1000.txt", "color: bgr\nactivation: none\nscale: 1\nmean: [103.939, 116.779, 123.68]\n", nil},
	{"mobilenet_v1_0.25_128_u8nhwc_f32out", "imagenet_labels_1001_background.txt", "background: true\ncolor: rgb\nactivation: none\n",
		[]string{"jetson_brown_bear.jpg", "jetson_granny_smith_0.jpg", "coral_sunflower.bmp"}},
}

// notAgreed are photos of which the manifest says not to assert them, or that are of no class.
var notAgreed = []string{"jetson_airplane_0.jpg", "coral_face.jpg", "fastestdet_people_3.jpg"}

func TestPhotosAreClassifiedAsTheManifestSays(t *testing.T) {
	data := pipelinetest.TestData(t)
	truth := readTruth(t, data)
	scaled := album{}
	for _, m := range photoModels {
		t.Run(m.model+" "+m.labels, func(t *testing.T) {
			c := openWithCard(t, data, m.model, m.labels, m.card)
			for photo, best := range truth[m.model]["stretch"] {
				path := filepath.Join(data, "images", photo)
				if _, err := os.Stat(path); err != nil || slices.Contains(notAgreed, photo) || (m.only != nil && !slices.Contains(m.only, photo)) {
					continue
				}
				checkPhoto(t, c, scaled.frame(t, path, c.Wish()), best)
			}
		})
	}
}

type prediction struct {
	class int
	score float64
}

func readTruth(t *testing.T, data string) map[string]map[string]map[string]prediction {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "models", "TOP5.json"))
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]map[string]map[string][][3]any
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	truth := map[string]map[string]map[string]prediction{}
	for model, ways := range raw {
		truth[model] = map[string]map[string]prediction{}
		for way, photos := range ways {
			truth[model][way] = map[string]prediction{}
			for photo, top := range photos {
				truth[model][way][photo] = prediction{int(top[0][0].(float64)), top[0][2].(float64)}
			}
		}
	}
	return truth
}

// openWithCard lays the model's file, the card and the labels side by side, as a user does.
func openWithCard(t *testing.T, data, model, labels, card string) *Classifier {
	t.Helper()
	folder := t.TempDir()
	text := fmt.Sprintf("name: %s\nlabels_file: labels\n%s", model, card)
	for name, from := range map[string]string{model + ".onnx": "models/" + model + ".onnx", "labels": "labels/" + labels} {
		content, err := os.ReadFile(filepath.Join(data, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, model+".yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Open(started(t), Options{Path: filepath.Join(folder, model+".onnx"), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func checkPhoto(t *testing.T, c *Classifier, photo *pipeline.Frame, best prediction) {
	t.Helper()
	answers := make([]pipeline.Answer, 1)
	if err := c.Classify(context.Background(), []*pipeline.Frame{photo}, answers); err != nil {
		t.Fatal(err)
	}
	top := answers[0].Predictions[0]
	if top.ClassID != best.class || answers[0].Top != 0 {
		t.Errorf("%s is %+v (top %d), want class %d with %.3f", photo.Source, top, answers[0].Top, best.class, best.score)
	}
	// The manifest's own resize is not spelt out to the last bit.
	if d := math.Abs(float64(top.Confidence) - best.score); d > 0.15 {
		t.Errorf("%s: confidence %.3f, the manifest has %.3f", photo.Source, top.Confidence, best.score)
	}
}

// album keeps photos scaled for one model for the next one that wants the same.
type album map[string]*pipeline.Frame

func (a album) frame(t *testing.T, path string, w pipeline.Wish) *pipeline.Frame {
	key := fmt.Sprint(path, w.Width, w.Height, w.Color)
	if a[key] == nil {
		a[key] = stretched(t, path, w)
		a[key].Source = filepath.Base(path)
	}
	return a[key]
}

// stretched decodes a photo and brings it to the size with a triangle filter as wide as the scale,
// as the manifest's table was made. It is written apart from the project's own scaler.
func stretched(t *testing.T, path string, w pipeline.Wish) *pipeline.Frame {
	t.Helper()
	picture := decode(t, path)
	bounds := picture.Bounds()
	columns, rows := triangle(bounds.Dx(), w.Width), triangle(bounds.Dy(), w.Height)
	narrow := make([][3]float64, w.Width*bounds.Dy())
	for y := range bounds.Dy() {
		line := make([][3]float64, bounds.Dx())
		for x := range line {
			c := color.NRGBAModel.Convert(picture.At(bounds.Min.X+x, bounds.Min.Y+y)).(color.NRGBA)
			line[x] = [3]float64{float64(c.R), float64(c.G), float64(c.B)}
		}
		for x, taps := range columns {
			narrow[y*w.Width+x] = taps.sum(func(i int) [3]float64 { return line[i] })
		}
	}
	frame := new(pipeline.FramePool).New(w.Width, w.Height)
	frame.Color, frame.Sequence = w.Color, 1
	for y, taps := range rows {
		for x := range w.Width {
			pixel := taps.sum(func(i int) [3]float64 { return narrow[i*w.Width+x] })
			if w.Color == pipeline.BGR {
				pixel[0], pixel[2] = pixel[2], pixel[0]
			}
			for c, v := range pixel {
				frame.Data[3*(y*w.Width+x)+c] = byte(math.Round(v))
			}
		}
	}
	return frame
}

// filter is what one pixel takes from a line: weights, from the pixel first on.
type filter struct {
	first   int
	weights []float64
}

func (f filter) sum(at func(int) [3]float64) (pixel [3]float64) {
	for i, weight := range f.weights {
		for c, v := range at(f.first + i) {
			pixel[c] += weight * v
		}
	}
	return pixel
}

func triangle(from, to int) []filter {
	scale := float64(from) / float64(to)
	reach := max(scale, 1)
	filters := make([]filter, to)
	for i := range filters {
		centre := (float64(i) + 0.5) * scale
		first, last := max(int(centre-reach), 0), min(int(math.Ceil(centre+reach)), from)
		weights, sum := make([]float64, last-first), 0.0
		for j := range weights {
			weights[j] = max(0, 1-math.Abs(float64(first+j)+0.5-centre)/reach)
			sum += weights[j]
		}
		for j := range weights {
			weights[j] /= sum
		}
		filters[i] = filter{first, weights}
	}
	return filters
}

func decode(t *testing.T, path string) image.Image {
	t.Helper()
	if filepath.Ext(path) == ".bmp" {
		return decodeBMP(t, path)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// decodeBMP reads the one kind of BMP that the test data have: 24 bits, rows from below.
func decodeBMP(t *testing.T, path string) image.Image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || len(data) < 54 || string(data[:2]) != "BM" || binary.LittleEndian.Uint16(data[28:]) != 24 {
		t.Fatalf("%s is no BMP of 24 bits (%v)", path, err)
	}
	pixels := data[binary.LittleEndian.Uint32(data[10:]):]
	width, height := int(int32(binary.LittleEndian.Uint32(data[18:]))), int(int32(binary.LittleEndian.Uint32(data[22:])))
	stride := (3*width + 3) &^ 3
	if height < 0 || len(pixels) < stride*height {
		t.Fatalf("%s has rows from above, or too few", path)
	}
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		row := pixels[(height-1-y)*stride:]
		for x := range width {
			picture.SetNRGBA(x, y, color.NRGBA{row[3*x+2], row[3*x+1], row[3*x], 255})
		}
	}
	return picture
}

func TestCardsOfTheTestDataFit(t *testing.T) {
	data := pipelinetest.TestData(t)
	c := openWithCard(t, data, photoModels[0].model, photoModels[0].labels, photoModels[0].card)
	info, wish := c.Info(), c.Wish()
	file, err := models.ReadFile(filepath.Join(data, "models", photoModels[0].model+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Digest != "sha256:"+file.SHA256 || info.Provider != "cpu" || info.Name != photoModels[0].model {
		t.Errorf("info is %+v", info)
	}
	if wish.Width != 224 || wish.Height != 224 || wish.Color != pipeline.RGB || wish.Resize != pipeline.ResizeStandard {
		t.Errorf("wish is %+v", wish)
	}
}
