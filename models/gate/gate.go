// Package gate holds the project's own model: it tells what passes the simulated gate of `sightline demo`. The card
// beside it says what it was trained on, how good it is, and what it is not for; train/README.md how it was made.
package gate

import _ "embed"

//go:embed gate.onnx
var model []byte

//go:embed gate.yaml
var card []byte

// Model is the ONNX file: one input `pictures`, uint8 [batch, 128, 128, 3] (RGB, 0 to 255), and one output `scores`,
// float32 [batch, 6] logits in the order of the card's labels. The caller must not change it.
func Model() []byte { return model }

// Card is the model's card, YAML. The caller must not change it.
func Card() []byte { return card }
