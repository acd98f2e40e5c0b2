package configs_test

import (
	"testing"

	"sightline/configs"
)

func TestAnAddressWithVariablesIsShownAsWritten(t *testing.T) {
	if got, want := load(t, "variables", configs.Options{}).Sources["gate"].RTSP.Shown, "rtsp://192.0.2.10:${PORT}/s"; got != want {
		t.Errorf("shown as %q, want %q", got, want)
	}
	if got := load(t, "everything", configs.Options{}).Sources["gate"].RTSP.Shown; got != "" {
		t.Errorf("an address without variables is shown as %q", got)
	}
}
