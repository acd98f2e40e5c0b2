package main

import (
	"strings"
	"testing"
	"time"

	"sightline/runtime/supervisor"
)

func TestPsSaysWhatIsWrongOnOneLineAStage(t *testing.T) {
	now := time.Now()
	var out strings.Builder
	err := showStates(&out, []supervisor.State{
		{Stage: "gate", Phase: supervisor.Running, Since: now, Problem: "refused\x1b[2J\n by rtsp://viewer:hunter2@192.0.2.10/x"},
		{Stage: "yard", Phase: supervisor.Waiting, Since: now, Next: now.Add(9 * time.Second), Problem: "no password"},
		{Stage: "scene", Phase: supervisor.Running, Since: now, Ready: true, Sent: 1023, Received: 5 << 20},
	}, now)
	text := out.String()
	if err != nil || strings.Count(text, "\n") != 4 || strings.ContainsAny(text, "\x1b") || strings.Contains(text, "hunter2") {
		t.Errorf("%v, %q", err, text)
	}
	for _, part := range []string{"refused [2J by rtsp://", "again in 9s: no password", "1023B", "5.0MiB"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

func TestPsSaysOnceWhatDoesNotProtectStages(t *testing.T) {
	var out strings.Builder
	showLacks(&out, []supervisor.State{
		{Stage: "cloud", Lacks: []string{"user of its own: not root", "Landlock: not in the kernel"}},
		{Stage: "scene"},
		{Stage: "gate", Lacks: []string{"user of its own: not root"}},
	})
	if want := "lacks: user of its own: not root (cloud, gate)\nlacks: Landlock: not in the kernel (cloud)\n"; out.String() != want {
		t.Errorf("says\n%s", out.String())
	}
}
