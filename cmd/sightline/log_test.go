package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAMessageRepeatedTooOftenIsLeftOutAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newLogger(&out, slog.LevelInfo, "text")
		gate, yard := log.With("stage", "gate"), log.With("stage", "yard")
		for range 1000 {
			gate.Warn("camera offline")
		}
		yard.Warn("camera offline")
		log.Error("stage ended", "stage", "other")
		if n := strings.Count(out.String(), "stage=gate"); n != burst {
			t.Errorf("%d lines of the gate, want %d", n, burst)
		}
		if !strings.Contains(out.String(), "stage=yard") {
			t.Error("the other stage's line is left out")
		}
		out.Reset()
		time.Sleep(period)
		gate.Warn("camera offline")
		if !strings.Contains(out.String(), "left_out=995") {
			t.Errorf("does not say how many were left out: %s", out.String())
		}
	})
}

func TestManyDifferentMessagesTakeBoundedMemory(t *testing.T) {
	s := &limits{windows: map[string]*window{}}
	for i := range 10 * mostWindows {
		s.admit(strings.Repeat("x", i%7)+string(rune(i)), time.Now())
	}
	if len(s.windows) > mostWindows {
		t.Errorf("%d windows are kept", len(s.windows))
	}
}

func TestNoTextAndNoErrorShowsAPassword(t *testing.T) {
	var out bytes.Buffer
	newLogger(&out, slog.LevelInfo, "json").Info("dial", "url", "rtsp://u:p#ss@cam/s", "err", errors.New("mqtt://u:p#ss@b: refused"))
	if strings.Contains(out.String(), "p#ss") {
		t.Error(out.String())
	}
}
