package qemu

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

func TestTheProbeGuestIsItsSource(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the assembler here is not for amd64")
	}
	dir := t.TempDir()
	object, binary := filepath.Join(dir, "o"), filepath.Join(dir, "bin")
	for _, command := range [][]string{
		{"as", "--64", "-o", object, "testdata/probe_amd64.s.txt"},
		{"objcopy", "-O", "binary", "-j", ".text", object, binary},
	} {
		program, err := exec.LookPath(command[0])
		if err != nil {
			t.Skip(err)
		}
		if out, err := exec.CommandContext(t.Context(), program, command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	want, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	got := probeX86()[firmwareSize-4096:][:len(want)]
	if !bytes.Equal(got, want) {
		t.Errorf("the source makes\n% x\nnot\n% x", want[:192], got[:192])
	}
}
