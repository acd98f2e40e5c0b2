package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/models"
	"sightline/models/onnx"
	"sightline/models/onnxtest"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/photo"
)

var (
	runtime    *onnx.Runtime
	runtimeErr error
	cache      string // optimised graphs: every test opens the same models again and again
)

func TestMain(m *testing.M) {
	runtime, runtimeErr = onnx.Start("")
	var err error
	if cache, err = os.MkdirTemp("", "sightline-check-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if runtime != nil {
		if err := runtime.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.RemoveAll(cache)
	os.Exit(code)
}

func started(t *testing.T) *onnx.Runtime {
	t.Helper()
	if runtimeErr != nil {
		t.Skip(runtimeErr)
	}
	return runtime
}

// photos of which the test data's manifest says what they show.
var photos = []struct{ file, label string }{
	{"jetson_banana_0.jpg", "banana"},
	{"coral_hot_dog.jpg", "hotdog"},
	{"jetson_brown_bear.jpg", "brown bear"},
	{"jetson_black_bear.jpg", "American black bear"},
	{"coral_cat_720p.jpg", "Egyptian cat"},
}

func pictures(t *testing.T, data string, known bool) []Picture {
	t.Helper()
	var list []Picture
	for _, p := range photos {
		file, err := photo.Open(filepath.Join(data, "images", p.file))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(file.Close)
		picture := Picture{Name: p.file, Frame: file.Frame}
		if known {
			picture.Expected = &Expected{Labels: []string{p.label}}
		}
		list = append(list, picture)
	}
	return list
}

// The cards that are right.
const (
	u8nhwc = `labels_file: imagenet_labels_1001_background.txt
background: true
color: rgb
activation: none
`
	f32nchw = `labels_file: imagenet_labels_1001_background.txt
background: true
color: rgb
scale: 255
mean: [0.485, 0.456, 0.406]
std: [0.229, 0.224, 0.225]
activation: softmax
`
	squeezenet = `labels_file: imagenet_synset_1000.txt
color: bgr
scale: 1
mean: [104, 117, 123]
activation: none
`
)

var cards = map[string]string{
	"mobilenet_v2_1.0_224_u8nhwc":                      u8nhwc,
	"mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits": f32nchw,
	"squeezenet1.1_fp32":                               squeezenet,
}

// checker lays model, labels and card side by side, as a user does.
func checker(t *testing.T, data, model, card string) *Checker {
	t.Helper()
	folder := t.TempDir()
	for _, labels := range []string{"imagenet_labels_1001_background.txt", "imagenet_synset_1000.txt"} {
		text, err := os.ReadFile(filepath.Join(data, "labels", labels))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(text), "\n")
		more := "one more\n"
		if strings.HasPrefix(lines[0], "n0") {
			more = "n00000000 " + more
		}
		shifted := strings.Join(lines[1:], "") + more
		late := more + strings.Join(lines[:len(lines)-2], "")
		for name, content := range map[string]string{labels: string(text), "early_" + labels: shifted, "late_" + labels: late} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(folder, model+".yaml")
	if err := os.WriteFile(path, []byte(card), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := models.ReadCard(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := models.ReadFile(filepath.Join(data, "models", model+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return &Checker{Runtime: started(t), File: file, Card: c, Threads: 1, CacheDir: cache}
}

func TestRightCardsAreRight(t *testing.T) {
	data := pipelinetest.TestData(t)
	for model, card := range cards {
		t.Run(model, func(t *testing.T) {
			r, err := checker(t, data, model, card).Run(t.Context(), pictures(t, data, true))
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || r.Right != len(photos) || r.Judged != len(photos) || len(r.Findings) != 0 {
				t.Errorf("%d of %d are right; refused %q; %+v", r.Right, r.Judged, r.Refused, r.Findings)
			}
			for _, p := range r.Pictures {
				if len(p.Predictions) != 5 || p.Place != 1 || p.Problem != "" {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

// mistakes are cards with one mistake, or two, made on purpose, and what must be found.
var mistakes = []struct {
	name, model string
	change      []string // old, new, old, new …
	want        []Mistake
	settings    map[string]string // that mend it
}{
	{"channels swapped", "mobilenet_v2_1.0_224_u8nhwc", []string{"rgb", "bgr"}, []Mistake{Channels}, map[string]string{"color": "rgb"}},
	{"channels swapped", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits", []string{"rgb", "bgr"}, []Mistake{Channels}, map[string]string{"color": "rgb"}},
	{"channels swapped, with mean and std", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits",
		[]string{"rgb", "bgr", "[0.485, 0.456, 0.406]", "[0.406, 0.456, 0.485]", "[0.229, 0.224, 0.225]", "[0.225, 0.224, 0.229]"},
		[]Mistake{Channels}, map[string]string{"color": "rgb"}},
	{"channels swapped", "squeezenet1.1_fp32", []string{"bgr", "rgb"}, []Mistake{Channels}, map[string]string{"color": "bgr"}},

	{"mean and std missing", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits",
		[]string{"mean: [0.485, 0.456, 0.406]\n", "", "std: [0.229, 0.224, 0.225]\n", ""},
		[]Mistake{Mean}, map[string]string{"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}},
	{"mean missing", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits", []string{"mean: [0.485, 0.456, 0.406]\n", ""},
		[]Mistake{Mean}, map[string]string{"mean": "[0.485, 0.456, 0.406]"}},
	{"mean missing", "squeezenet1.1_fp32", []string{"mean: [104, 117, 123]\n", ""}, []Mistake{Mean}, map[string]string{"mean": "[103.939, 116.779, 123.68]"}},

	{"0 … 255 where 0 … 1 is meant", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits",
		[]string{"scale: 255", "scale: 1", "mean: [0.485, 0.456, 0.406]", "mean: [123.675, 116.28, 103.53]", "std: [0.229, 0.224, 0.225]\n", ""},
		[]Mistake{Scale}, map[string]string{"scale": "255", "std": "[0.229, 0.224, 0.225]"}},
	{"0 … 255 where 0 … 1 is meant, no mean", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits",
		[]string{"scale: 255", "scale: 1", "mean: [0.485, 0.456, 0.406]\n", "", "std: [0.229, 0.224, 0.225]\n", ""},
		[]Mistake{Scale, Mean}, map[string]string{"scale": "255"}},
	{"0 … 1 where 0 … 255 is meant", "squeezenet1.1_fp32", []string{"scale: 1", "scale: 255", "[104, 117, 123]", "[0.408, 0.459, 0.482]"},
		[]Mistake{Scale}, map[string]string{"scale": "1"}},
	{"both wrong", "squeezenet1.1_fp32", []string{"color: bgr", "color: rgb", "scale: 1", "scale: 255", "[104, 117, 123]", "[0.482, 0.459, 0.408]"},
		[]Mistake{Channels, Scale}, map[string]string{"scale": "1", "color": "bgr"}},
	{"another model's numbers", "squeezenet1.1_fp32",
		[]string{"color: bgr", "color: rgb", "scale: 1", "scale: 255", "[104, 117, 123]", "[0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]"},
		[]Mistake{Channels, Scale}, map[string]string{"scale": "1", "color": "bgr"}},

	{"softmax twice", "mobilenet_v2_1.0_224_u8nhwc", []string{"activation: none", "activation: softmax"}, []Mistake{SoftmaxTwice}, map[string]string{"activation": "none"}},
	{"softmax twice", "squeezenet1.1_fp32", []string{"activation: none", "activation: softmax"}, []Mistake{SoftmaxTwice}, map[string]string{"activation": "none"}},
	{"softmax missing", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits", []string{"activation: softmax", "activation: none"},
		[]Mistake{SoftmaxMissing}, map[string]string{"activation": "softmax"}},
	{"sigmoid on probabilities", "squeezenet1.1_fp32", []string{"activation: none", "activation: sigmoid"}, []Mistake{SigmoidTwice}, map[string]string{"activation": "none"}},

	{"labels one early", "squeezenet1.1_fp32", []string{"imagenet_synset", "early_imagenet_synset"}, []Mistake{LabelsShifted}, nil},
	{"labels one late", "squeezenet1.1_fp32", []string{"imagenet_synset", "late_imagenet_synset"}, []Mistake{LabelsShifted}, nil},
	{"labels one early", "mobilenet_v2_1.0_224_u8nhwc", []string{"imagenet_labels", "early_imagenet_labels", "background: true\n", ""}, []Mistake{LabelsShifted}, nil},
	{"background class in the wrong place", "mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits",
		[]string{"imagenet_labels_1001_background", "imagenet_synset_1000", "background: true", "background: 1000"}, []Mistake{LabelsShifted}, map[string]string{"background": "true"}},
}

func TestMistakesMadeOnPurposeAreNamed(t *testing.T) {
	data := pipelinetest.TestData(t)
	for _, m := range mistakes {
		t.Run(m.name+" "+m.model, func(t *testing.T) {
			card := strings.NewReplacer(m.change...).Replace(cards[m.model])
			if card == cards[m.model] {
				t.Fatal("the mistake changes nothing")
			}
			r, err := checker(t, data, m.model, card).Run(t.Context(), pictures(t, data, true))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d of %d right; refused %q; %+v", r.Right, r.Judged, r.Refused, r.Findings)
			if len(r.Findings) != 1 || !slices.Equal(r.Findings[0].Mistakes, m.want) {
				t.Fatalf("found %+v, want %q", r.Findings, m.want)
			}
			if r.OK() {
				t.Error("the report is OK")
			}
			for key, want := range m.settings {
				if !slices.ContainsFunc(r.Findings[0].Change, func(s Setting) bool { return s.Key == key && s.Want == want }) {
					t.Errorf("it does not want %s: %s but %+v", key, want, r.Findings[0].Change)
				}
			}
		})
	}
}

func TestWithoutExpectedAnswersNothingIsCertainButTheActivation(t *testing.T) {
	data := pipelinetest.TestData(t)
	for i, m := range mistakes {
		activation := slices.Contains([]Mistake{SoftmaxTwice, SoftmaxMissing, SigmoidTwice}, m.want[0])
		if i%4 != 0 && !activation {
			continue // it takes long
		}
		t.Run(m.name+" "+m.model, func(t *testing.T) {
			card := strings.NewReplacer(m.change...).Replace(cards[m.model])
			r, err := checker(t, data, m.model, card).Run(t.Context(), pictures(t, data, false)[:3])
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.Certain != activation || f.Certain && f.Mistakes[0] != m.want[0] || !f.Certain && !strings.Contains(f.Says, "a guess") {
					t.Errorf("found %+v", f)
				}
			}
			if activation == r.OK() || r.Judged != 0 {
				t.Errorf("OK is %v of %d", r.OK(), r.Judged)
			}
		})
	}
}

func TestTheWrongLayoutIsNamed(t *testing.T) {
	for _, layout := range []models.Layout{models.NHWC, models.NCHW} {
		shape := map[models.Layout][]int64{models.NCHW: {-1, 3, -1, -1}, models.NHWC: {-1, -1, -1, 3}}[layout]
		// Means of the channels: the layout that is wrong gives as many scores as the picture is wide, or high.
		g := onnxtest.Averages("uint8", shape, "float32", []int64{-1, 3})
		g.Inputs = []onnxtest.Proto{onnxtest.Tensor("image", "uint8", -1, -1, -1, -1)}
		text := fmt.Sprintf("labels: [red, green, blue]\ncolor: rgb\nactivation: none\nwidth: 12\nheight: 12\nlayout: %s\n", otherLayout(layout))
		card, err := models.ParseCard("card.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c := &Checker{Runtime: started(t), File: models.NewFile("means", g.File()), Card: card}
		r, err := c.Run(t.Context(), []Picture{{Name: "green", Frame: plain(0, 200, 0), Expected: &Expected{Labels: []string{"green"}}}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Refused == "" || r.OK() || len(r.Findings) != 1 || !slices.Equal(r.Findings[0].Mistakes, []Mistake{LayoutWrong}) ||
			!slices.Contains(r.Findings[0].Change, Setting{"layout", string(otherLayout(layout)), string(layout)}) {
			t.Errorf("%s: %+v", layout, r)
		}
	}
}

// plain is a picture of one colour.
func plain(r, g, b byte) func(pipeline.Wish) ([]byte, error) {
	return func(w pipeline.Wish) ([]byte, error) {
		pixel := []byte{r, g, b}
		if w.Color == pipeline.BGR {
			slices.Reverse(pixel)
		}
		return slices.Repeat(pixel, w.Width*w.Height), nil
	}
}

func TestWhatIsExpectedIsExplained(t *testing.T) {
	data := pipelinetest.TestData(t)
	c := checker(t, data, "squeezenet1.1_fp32", squeezenet)
	list := pictures(t, data, true)[:1]
	for label, want := range map[string]string{"bananna": `did you mean "banana"?`, "zzzzzz": "1000 labels are from", "": "has no label"} {
		list[0].Expected = &Expected{Labels: []string{label}}
		if _, err := c.Run(t.Context(), list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", label, err, want)
		}
	}
	confidence := 0.2
	list[0].Expected = &Expected{Labels: []string{"lemon", "Banana"}, Confidence: &confidence, Tolerance: 0.01}
	r, err := c.Run(t.Context(), list)
	if err != nil || r.Right != 0 || r.Pictures[0].Place != 1 || !strings.Contains(r.Pictures[0].Problem, "expected is 0.200 ± 0.010") {
		t.Errorf("another confidence: %+v, %v", r, err)
	}
}

func TestLabelsAreFound(t *testing.T) {
	labels := []string{"tench, Tinca tinca", "crane", "crane, hoist", "Hotdog, hot dog"}
	tests := map[string][]int{
		"tench": {0}, " TINCA tinca ": {0}, "tench, tinca tinca": {0}, "crane": {1}, "hoist": {2}, "hot dog": {3}, "dog": nil, "": nil,
	}
	for label, want := range tests {
		if got := classesOf(labels, label); !slices.Equal(got, want) {
			t.Errorf("%q means %v, want %v", label, got, want)
		}
	}
}
