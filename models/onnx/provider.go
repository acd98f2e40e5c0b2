package onnx

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"sightline/models"
)

// Provider is an execution provider of ONNX Runtime: what a model runs on.
type Provider string

// The providers. Auto takes the first of TensorRT, CUDA and CPU that comes up.
const (
	Auto     Provider = models.ProviderAuto
	CPU      Provider = models.ProviderCPU
	CUDA     Provider = models.ProviderCUDA
	TensorRT Provider = models.ProviderTensorRT
)

// ProviderError says why a provider did not come up, and what would help.
type ProviderError struct {
	Provider Provider
	Err      error
}

// Error gives the library's reason and what to install.
func (e *ProviderError) Error() string {
	return fmt.Sprintf("provider %s does not come up: %s (%s)", e.Provider, reason(e.Err), e.Provider.needs())
}

// Unwrap is the reason.
func (e *ProviderError) Unwrap() error { return e.Err }

// reason is what ONNX Runtime says, without the place in its sources and its own code.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "[ONNXRuntimeError] : "); i >= 0 {
		if parts := strings.SplitN(text[i:], " : ", 4); len(parts) == 4 {
			return parts[3]
		}
	}
	return strings.TrimPrefix(text, "Error creating C session: ")
}

func (p Provider) needs() string {
	const cuda = "an NVIDIA GPU with its driver, the CUDA and cuDNN that this ONNX Runtime was built for, and libonnxruntime_providers_shared.so and libonnxruntime_providers_cuda.so beside libonnxruntime.so"
	switch p {
	case CUDA:
		return "it needs " + cuda
	case TensorRT:
		return "it needs TensorRT with libonnxruntime_providers_tensorrt.so, and " + cuda
	}
	return "it is part of every ONNX Runtime"
}

// candidates are the providers to try, in order.
func (p Provider) candidates() ([]Provider, error) {
	switch p {
	case Auto:
		return []Provider{TensorRT, CUDA, CPU}, nil
	case CPU, CUDA, TensorRT:
		return []Provider{p}, nil
	case "":
		return []Provider{CPU}, nil
	}
	return nil, fmt.Errorf("provider %q is not known (one of auto, cpu, cuda, tensorrt)", p)
}

// kernels is the provider's name in ONNX Runtime's own words.
func (p Provider) kernels() string {
	return map[Provider]string{CPU: "CPUExecutionProvider", CUDA: "CUDAExecutionProvider", TensorRT: "TensorrtExecutionProvider"}[p]
}

// attach adds the provider to a session's options. TensorRT is followed by CUDA, which takes the
// parts of a model that TensorRT does not know.
func (p Provider) attach(options *ort.SessionOptions, gpu int, tensorrt map[string]string) error {
	switch p {
	case CUDA:
		return attachCUDA(options, gpu)
	case TensorRT:
		settings, err := ort.NewTensorRTProviderOptions()
		if err != nil {
			return err
		}
		defer settings.Destroy()
		values := map[string]string{"device_id": strconv.Itoa(gpu)}
		for key, value := range tensorrt {
			values[key] = value
		}
		if err := settings.Update(values); err != nil {
			return err
		}
		if err := options.AppendExecutionProviderTensorRT(settings); err != nil {
			return err
		}
		return attachCUDA(options, gpu)
	}
	return nil
}

func attachCUDA(options *ort.SessionOptions, gpu int) error {
	settings, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer settings.Destroy()
	if err := settings.Update(map[string]string{"device_id": strconv.Itoa(gpu)}); err != nil {
		return err
	}
	return options.AppendExecutionProviderCUDA(settings)
}

// tensorRTOptions are the settings of TensorRT for one model. Engines are built for the batch sizes
// 1 to batch, best for the largest.
func tensorRTOptions(folder string, half bool, fit *models.Fit, batch int) map[string]string {
	values := map[string]string{"trt_fp16_enable": "0"}
	if half {
		values["trt_fp16_enable"] = "1"
	}
	if folder != "" {
		values["trt_engine_cache_enable"], values["trt_engine_cache_path"] = "1", folder
		values["trt_timing_cache_enable"], values["trt_timing_cache_path"] = "1", folder
	}
	if open := fit.Batch == 0 || strings.Contains(fit.Input.String(), "?"); open {
		values["trt_profile_min_shapes"] = shapeOf(fit, min(batch, max(fit.Batch, 1)))
		values["trt_profile_opt_shapes"] = shapeOf(fit, batch)
		values["trt_profile_max_shapes"] = shapeOf(fit, batch)
	}
	return values
}

func shapeOf(fit *models.Fit, n int) string {
	words := make([]string, 0, 4)
	for _, d := range fit.Shape(n) {
		words = append(words, strconv.FormatInt(d, 10))
	}
	return fit.Input.Name + ":" + strings.Join(words, "x")
}

// probe is the smallest model there is: y = Relu(x), x float32[1,1].
//
//go:embed probe.onnx
var probe []byte

// Availability says whether a provider comes up on this machine, and if not, why.
type Availability struct {
	Provider Provider
	Err      error // nil: it comes up
}

// Providers tries every provider with the smallest of models. It may take seconds for those of a GPU.
func Providers(r *Runtime, gpu int) []Availability {
	all := []Availability{{Provider: CPU}, {Provider: CUDA}, {Provider: TensorRT}}
	for i := range all {
		if err := tryProvider(all[i].Provider, gpu); err != nil {
			all[i].Err = &ProviderError{all[i].Provider, err}
		}
	}
	return all
}

func tryProvider(p Provider, gpu int) error {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	if err := p.attach(options, gpu, nil); err != nil {
		return err
	}
	if err := options.SetIntraOpNumThreads(1); err != nil {
		return err
	}
	run, err := ort.NewDynamicAdvancedSessionWithONNXData(probe, []string{"x"}, []string{"y"}, options)
	if err != nil {
		return err
	}
	defer run.Destroy()
	in, err := ort.NewTensor(ort.NewShape(1, 1), []float32{2})
	if err != nil {
		return err
	}
	defer in.Destroy()
	out := []ort.Value{nil}
	if err := run.Run([]ort.Value{in}, out); err != nil {
		return err
	}
	defer out[0].Destroy()
	if y, ok := out[0].(*ort.Tensor[float32]); !ok || y.GetData()[0] != 2 {
		return errors.New("it computes wrongly")
	}
	return nil
}
