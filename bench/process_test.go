package bench

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestProcessorTimeOfAProcess(t *testing.T) {
	const after = " S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 1000 200"
	tests := []struct {
		name, text string
		want       time.Duration
		ok         bool
	}{
		{"user and system are added", "42 (sightline)" + after, 3 * time.Second, true},
		{"a name with blanks and parentheses", "42 (a) b (c)" + after, 3 * time.Second, true},
		{"cut short", "42 (sightline) S 1 1", 0, false},
		{"no numbers", "42 (sightline) S a b c d e f g h i j k l m n", 0, false},
		{"empty", "", 0, false},
	}
	for _, test := range tests {
		got, err := parseStat([]byte(test.text))
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
	if _, err := cpuOf(os.Getpid()); err != nil {
		t.Error(err)
	}
}

func TestResidentMemoryOfAProcess(t *testing.T) {
	if got, err := parseStatm([]byte("1000 200 30 4 0 5 0\n")); err != nil || got != 200*int64(os.Getpagesize()) {
		t.Errorf("%d, %v", got, err)
	}
	for _, text := range []string{"", "1000", "1000 many"} {
		if _, err := parseStatm([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if got, err := residentOf(os.Getpid()); err != nil || got <= 0 {
		t.Errorf("this process: %d, %v", got, err)
	}
}

func TestAChildEndsWhenItsInputDoes(t *testing.T) {
	c, err := start("cat", exec.Command("cat"))
	if err != nil {
		t.Fatal(err)
	}
	c.watch()
	if err := c.stop(time.Minute); err != nil {
		t.Error(err)
	}
}

func TestAChildThatFailsSaysWhy(t *testing.T) {
	c, err := start("shell", exec.Command("sh", "-c", "echo no camera >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	c.watch()
	<-c.done
	if err := c.stop(time.Minute); err == nil || !strings.Contains(err.Error(), "no camera") {
		t.Errorf("got %v", err)
	}
}

func TestAChildThatDoesNotEndIsKilled(t *testing.T) {
	c, err := start("sleep", exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	c.watch()
	if err := c.stop(time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
}
