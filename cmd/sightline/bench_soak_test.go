package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sightline/bench/soak"
)

// The real program, killed and started again among cameras and upstreams that fail at random, delivers every
// result or counts its loss. `make soak` does this for longer.
func TestASoakBalances(t *testing.T) {
	requireRuntime(t)
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "soak.json")
	command := exec.Command(filepath.Join(programs(t), "sightline"), "bench", "soak",
		"--for", "12s", "--seed", "20261122", "--cameras", "2", "--folder", filepath.Join(folder, "soak"), "--json", file)
	out, err := command.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "soak", "run.log")) // for people
		t.Fatalf("sightline bench soak: %v\n%s", err, tail(string(log), 20_000))
	}
	var report soak.Report
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !report.Good || len(report.Faults) < 4 || len(report.Accounts) != 2 || len(report.Slopes) != 5 {
		t.Errorf("report %+v", report)
	}
	for _, a := range report.Accounts {
		if a.Received == 0 || a.Unexplained != 0 {
			t.Errorf("account %+v", a)
		}
	}
}
