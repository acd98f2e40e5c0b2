package catalogue

// What the models want to see and what their scores mean. Each is how the model was trained and its accuracy measured,
// by its page in the model zoo and by the programs that were used to quantise it.
const (
	// The habit of torchvision and GluonCV; the scores are logits.
	torchvision = `color: rgb
scale: 255
mean: [0.485, 0.456, 0.406]
std: [0.229, 0.224, 0.225]
resize_type: crop        # as its accuracy was measured; standard shows it the whole picture
crop_fraction: 0.875
activation: softmax
`
	// The habit of Caffe, from which SqueezeNet 1.0 was converted; a softmax is the model's last operator.
	caffe = `color: bgr
scale: 1
mean: [103.939, 116.779, 123.68]
resize_type: crop        # as its accuracy was measured; standard shows it the whole picture
crop_fraction: 0.875
activation: none
`
	// EfficientNet-Lite of TensorFlow: from -1 to 1, channels last; a softmax is the model's last operator.
	lite = `layout: nhwc
color: rgb
scale: 1
mean: [127, 127, 127]
std: [128, 128, 128]
resize_type: crop        # as its accuracy was measured; standard shows it the whole picture
crop_fraction: 0.875
activation: none
`
)

const vision = "validated/vision/classification/"

// all is the catalogue. Sizes and digests are those of the model zoo's own Git LFS pointers.
func all() []Entry {
	return []Entry{
		{
			Name: "efficientnet-lite4", Summary: "EfficientNet-Lite4, opset 11", Licence: "MIT",
			Zoo:  vision + "efficientnet-lite4/model/efficientnet-lite4-11.onnx",
			Size: 51946641, SHA256: "d111689907c06eea7c82e4833ddef758da6453b9d4cf60b7e99ca05c7cbd9c12",
			Accuracy: "top-1 80.4 %", input: lite,
		},
		{
			Name: "efficientnet-lite4-int8", Summary: "EfficientNet-Lite4, quantised, opset 11", Licence: "MIT", Int8: true,
			Zoo:  vision + "efficientnet-lite4/model/efficientnet-lite4-11-int8.onnx",
			Size: 13585963, SHA256: "2b3cbb5077262b20df565dacddecb3724c0976c35029a87e512d13aa4eff04a2",
			Accuracy: "top-1 77.56 %", input: lite,
		},
		{
			Name: "mobilenetv2-12", Summary: "MobileNetV2 1.0, opset 12", Licence: "Apache-2.0",
			Zoo:  vision + "mobilenet/model/mobilenetv2-12.onnx",
			Size: 13964571, SHA256: "c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5",
			Accuracy: "top-1 69.48 %, top-5 89.26 %", input: torchvision,
		},
		{
			Name: "mobilenetv2-12-int8", Summary: "MobileNetV2 1.0, quantised, opset 12", Licence: "Apache-2.0", Int8: true,
			Zoo:  vision + "mobilenet/model/mobilenetv2-12-int8.onnx",
			Size: 3655033, SHA256: "cc028fe6cae7bc11a4ff53cfc9b79c920e8be65ce33a904ec3e2a8f66d77f95f",
			Accuracy: "top-1 68.30 %, top-5 88.44 %", input: torchvision,
		},
		{
			Name: "resnet50-v1", Summary: "ResNet-50 v1, opset 12", Licence: "Apache-2.0",
			Zoo:  vision + "resnet/model/resnet50-v1-12.onnx",
			Size: 102576593, SHA256: "3f03fdef724b22947eed826f1eef1dc5c34151bb4c37d634f1db89dfa2dd1526",
			Accuracy: "top-1 74.97 %, top-5 92.33 %", input: torchvision,
		},
		{
			Name: "resnet50-v1-int8", Summary: "ResNet-50 v1, quantised, opset 12", Licence: "Apache-2.0", Int8: true,
			Zoo:  vision + "resnet/model/resnet50-v1-12-int8.onnx",
			Size: 25816052, SHA256: "c234f30975989788b4405f25253275aae247ab6dbdd34aaa69ab0a59ff76f6d0",
			Accuracy: "top-1 74.77 %, top-5 92.32 %", input: torchvision,
		},
		{
			Name: "resnet50-v2", Summary: "ResNet-50 v2, opset 7", Licence: "Apache-2.0",
			Zoo:  vision + "resnet/model/resnet50-v2-7.onnx",
			Size: 102442452, SHA256: "79102261eb6e5fd7af5d27f41316293e388c5cb691e5d25bfb035c4f64fefe31",
			Accuracy: "top-1 75.81 %, top-5 92.82 %", input: torchvision,
		},
		{
			Name: "shufflenet-v2", Summary: "ShuffleNet V2 1.0, opset 12", Licence: "BSD-3-Clause",
			Zoo:  vision + "shufflenet/model/shufflenet-v2-12.onnx",
			Size: 9218556, SHA256: "ea69821b4dd374ae2f33f9710dd1229ac263d0ee5b5a46ca3521f6483e1ba035",
			Accuracy: "top-1 66.35 %, top-5 86.57 %", input: torchvision,
		},
		{
			Name: "shufflenet-v2-int8", Summary: "ShuffleNet V2 1.0, quantised, opset 12", Licence: "BSD-3-Clause", Int8: true,
			Zoo:  vision + "shufflenet/model/shufflenet-v2-12-int8.onnx",
			Size: 2388912, SHA256: "bf5eefde67941aa7eaa7787316c9c52c4b04e07fc9587a6ea7028883be9a8d4e",
			Accuracy: "top-1 66.15 %, top-5 86.34 %", input: torchvision,
		},
		{
			Name: "squeezenet1.0", Summary: "SqueezeNet 1.0, opset 12", Licence: "Apache-2.0",
			Zoo:  vision + "squeezenet/model/squeezenet1.0-12.onnx",
			Size: 4952956, SHA256: "dec81a8684617770b3cf13fadc1d92565d1d453d23935fc6388b792d99c992bd",
			Accuracy: "top-1 56.85 %, top-5 79.87 %", input: caffe,
		},
		{
			Name: "squeezenet1.0-int8", Summary: "SqueezeNet 1.0, quantised, opset 12", Licence: "Apache-2.0", Int8: true,
			Zoo:  vision + "squeezenet/model/squeezenet1.0-12-int8.onnx",
			Size: 1293388, SHA256: "3da17dfad1b7ba23c93fac6dbf49f6db78cd42f7519e915a2e27d37c5c0a972b",
			Accuracy: "top-1 56.48 %, top-5 79.76 %", input: caffe,
		},
		{
			Name: "squeezenet1.1", Summary: "SqueezeNet 1.1, opset 7", Licence: "Apache-2.0",
			Zoo:  vision + "squeezenet/model/squeezenet1.1-7.onnx",
			Size: 4956208, SHA256: "1eeff551a67ae8d565ca33b572fc4b66e3ef357b0eb2863bb9ff47a918cc4088",
			Accuracy: "top-1 56.34 %, top-5 79.12 %", input: torchvision,
		},
	}
}
