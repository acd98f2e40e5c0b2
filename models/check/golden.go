package check

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sightline/configs/strict"
)

// Golden says what a model must answer to some pictures. Its YAML form lies beside the card, as NAME.golden.yaml.
type Golden struct {
	Pictures map[string]Expected `mapstructure:"pictures" required:"true" doc:"Pictures by a name for people."`
}

// Expected is one picture with its answer.
type Expected struct {
	File       string   `mapstructure:"file" required:"true" doc:"JPEG or PNG file inside the folder of the golden file." example:"photos/cat.jpg"`
	Labels     []string `mapstructure:"labels" required:"true" doc:"What the top class must be: one of these labels, or of the words between their commas." example:"[Egyptian cat]"`
	Confidence *float64 `mapstructure:"confidence" min:"0" max:"1" doc:"Confidence of the top class; without it any will do."`
	Tolerance  float64  `mapstructure:"tolerance" min:"0" max:"1" default:"0.05" doc:"How far the confidence may be from that."`
}

const maxGoldenBytes = 1 << 20

// GoldenPath is where the golden file of a model is expected.
func GoldenPath(model string) string {
	return strings.TrimSuffix(model, filepath.Ext(model)) + ".golden.yaml"
}

// ReadGolden reads the golden file of a model; nil when there is none.
func ReadGolden(model string) (*Golden, error) {
	path := GoldenPath(model)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("golden file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxGoldenBytes+1))
	if err != nil {
		return nil, fmt.Errorf("golden file %q: %w", path, err)
	}
	return ParseGolden(path, text)
}

// ParseGolden reads the text of a golden file; name stands for it in errors, which are strict.Problems.
func ParseGolden(name string, text []byte) (*Golden, error) {
	g := &Golden{}
	doc, problems := strict.Decode(name, text, g, strict.Options{})
	if err := problems.Err(); err != nil {
		return nil, err
	}
	for _, key := range g.Names() {
		path := "pictures." + key
		if p := g.Pictures[key]; !filepath.IsLocal(p.File) {
			problems = append(problems, doc.Problem(path+".file", fmt.Sprintf("%q is not within the folder of the golden file", p.File), "put the picture beside it"))
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return g, nil
}

// Names are the names of the pictures, in their order.
func (g *Golden) Names() []string { return slices.Sorted(maps.Keys(g.Pictures)) }

// For returns what is expected of a picture file: the entry whose file has the same name, in whatever folder.
func (g *Golden) For(file string) (Expected, bool) {
	for _, name := range g.Names() {
		if filepath.Base(g.Pictures[name].File) == filepath.Base(file) {
			return g.Pictures[name], true
		}
	}
	return Expected{}, false
}
