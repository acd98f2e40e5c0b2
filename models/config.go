// Package models defines the section `models:` of a pipeline file and the cards that describe
// models. Running a model is in the packages below it.
package models

import (
	"maps"
	"slices"
	"time"

	"sightline/pipeline"
)

// Config is one classify stage: a model and what it looks at.
type Config struct {
	Inputs    []string              `mapstructure:"inputs" required:"true" ref:"sources" doc:"Sources whose frames are classified."`
	Model     string                `mapstructure:"model" required:"true" doc:"Path of a .onnx file, relative to the pipeline file, or the name of a model that is built in or in the model store." example:"models/mobilenetv2.onnx"`
	Card      string                `mapstructure:"card" doc:"Path of the model's card; default: the .yaml beside the .onnx file, else the model's own metadata."`
	Provider  string                `mapstructure:"provider" enum:"auto,cpu,cuda,tensorrt" default:"cpu" doc:"ONNX Runtime execution provider. A named one that does not come up is an error; auto takes the first of tensorrt, cuda, cpu that works."`
	GPU       int                   `mapstructure:"gpu" default:"0" min:"0" doc:"Device number for cuda and tensorrt."`
	Half      bool                  `mapstructure:"half" default:"true" doc:"Lets tensorrt compute with half precision where that is faster."`
	Threads   int                   `mapstructure:"threads" default:"0" min:"0" max:"256" doc:"Threads of one inference; 0: the number of processors, at most 4."`
	Regions   map[string][4]float64 `mapstructure:"regions" doc:"Named parts of the picture, each classified by itself: [left, top, right, bottom] as fractions of its width and height. None: the whole picture."`
	Threshold *float64              `mapstructure:"threshold" min:"0" max:"1" doc:"Least confidence of the top class; default: the card's."`
	TopK      *int                  `mapstructure:"top_k" min:"1" max:"100" doc:"Predictions in a result; default: the card's."`
	Batch     Batch                 `mapstructure:"batch" doc:"Frames of several cameras in one inference."`
	Events    *Events               `mapstructure:"events" optional:"true" doc:"Makes events of the results: something is there, and is gone. None: results only."`
}

// Events says when results make an event. It has the fields of events.Rule.
type Events struct {
	Agree int           `mapstructure:"agree" default:"3" min:"1" max:"1000" doc:"Results that must have the same class at top."`
	Of    int           `mapstructure:"of" default:"5" min:"1" max:"1000" doc:"Of how many of the newest results of a source or region."`
	Hold  time.Duration `mapstructure:"hold" default:"2s" min:"0s" max:"24h" doc:"How long an event lasts at least, and goes on without agreement."`
}

// The values of Config.Provider: ONNX Runtime's execution providers. Auto takes the first of TensorRT,
// CUDA and CPU that comes up.
const (
	ProviderAuto     = "auto"
	ProviderCPU      = "cpu"
	ProviderCUDA     = "cuda"
	ProviderTensorRT = "tensorrt"
)

// RegionList returns the regions in the order of their names.
func (c Config) RegionList() []pipeline.Region {
	var list []pipeline.Region
	for _, name := range slices.Sorted(maps.Keys(c.Regions)) {
		r := c.Regions[name]
		list = append(list, pipeline.Region{Name: name, Left: r[0], Top: r[1], Right: r[2], Bottom: r[3]})
	}
	return list
}

// Batch says how frames are put together for one inference.
type Batch struct {
	Max  int           `mapstructure:"max" default:"1" min:"1" max:"256" doc:"Most frames in one inference; the model must have a dynamic batch size or just this one."`
	Wait time.Duration `mapstructure:"wait" default:"0s" min:"0s" max:"10s" doc:"How long the first frame waits for others."`
}
