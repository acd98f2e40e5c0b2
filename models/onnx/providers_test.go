package onnx

import (
	"errors"
	"strings"
	"testing"
)

func TestProvidersSayWhyNot(t *testing.T) {
	for _, a := range Providers(started(t), 0) {
		if a.Provider == CPU && a.Err != nil {
			t.Errorf("the CPU does not come up: %v", a.Err)
		}
		if a.Err == nil {
			t.Logf("%s comes up", a.Provider)
			continue
		}
		t.Logf("%v", a.Err)
		var why *ProviderError
		if !errors.As(a.Err, &why) || !strings.Contains(a.Err.Error(), "it needs") {
			t.Errorf("%s: the error does not say what it needs: %v", a.Provider, a.Err)
		}
	}
}
