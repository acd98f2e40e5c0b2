package unikernel

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"sightline/runtime/cgroup"
	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// trialWords are what the program of a trial prints before it ends with trialCode.
const (
	trialWords = "sightline is up\n"
	trialCode  = 42
)

// trialPatience is how long a guest may take to boot, most of it where it is translated.
const trialPatience = 20 * time.Second

// try boots a guest with a program that prints and ends.
func (h *host) try(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, trialPatience)
	defer cancel()
	disk, err := trialDisk(h.Emulator.Arch)
	if err != nil {
		return err
	}
	defer disk.Close()
	dir, err := os.MkdirTemp("", cgroup.ProbeName()+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	said := &console{}
	p, err := qemu.Start(ctx, qemu.Launch{
		ID: trialID(h.Emulator.Arch), Dir: dir, Emulator: h.Emulator, Log: said,
		Guest: h.guest(fmt.Sprintf("/proc/self/fd/%d", disk.Fd()), driver.Limits{Memory: leastMemory}),
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Kill() // may have ended
		<-p.Done()
		return fmt.Errorf("not there after %v; it said %q", trialPatience, said)
	}
	code, told := codeOf(p.End().Exit, h.Emulator.Arch)
	if !strings.Contains(said.String(), strings.TrimSpace(trialWords)) || code != trialCode && (told || h.Emulator.Arch == "amd64") {
		return fmt.Errorf("QEMU ended with %s; the guest said %q", p.End().Exit, said)
	}
	return nil
}

// console keeps what was printed.
type console struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (c *console) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(line)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// trialDisk returns the image of a closure of the trial's program alone.
func trialDisk(arch string) (*os.File, error) {
	program := trialProgram(arch)
	m := &closure.Manifest{Version: closure.Version, Platform: "linux/" + arch, Files: []closure.File{{
		Path: closure.ProgramPath, Kind: closure.Program, Executable: true, Size: int64(len(program)), SHA256: closure.Sum(program),
	}}}
	var disk bytes.Buffer
	if err := image([]string{closure.ProgramPath}).Pack(&disk, m, content(program)); err != nil {
		return nil, err
	}
	return qemu.Sealed("trial", disk.Bytes())
}

// content is the only content of a closure.
type content []byte

// Open implements closure.Contents.
func (c content) Open(closure.Digest) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c)), nil
}

// trialProgram returns a static program of a few instructions: write(1, trialWords), exit_group(trialCode).
func trialProgram(arch string) []byte {
	const base, header = 0x400000, 64 + 56
	machine := elf.EM_X86_64
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0x48, 0x8d, 0x35, 20, 0, 0, 0, // lea rsi, [rip+20], behind the code
		0xba, byte(len(trialWords)), 0, 0, 0, // mov edx, its length
		0x0f, 0x05, // syscall
		0xb8, 231, 0, 0, 0, // mov eax, 231 (exit_group)
		0xbf, trialCode, 0, 0, 0, // mov edi, trialCode
		0x0f, 0x05, // syscall
		0xeb, 0xfe, // jmp .
	}
	code[13] = byte(len(code) - 17)
	if arch == "arm64" {
		machine, code = elf.EM_AARCH64, nil
		for _, instruction := range []uint32{
			0xd2800808,                              // mov x8, #64 (write)
			0xd2800020,                              // mov x0, #1
			0x10000000 | 7<<5 | 1,                   // adr x1, .+28, behind the code
			0xd2800002 | uint32(len(trialWords))<<5, // mov x2, its length
			0xd4000001,                              // svc #0
			0xd2800bc8,                              // mov x8, #94 (exit_group)
			0xd2800000 | trialCode<<5,               // mov x0, #trialCode
			0xd4000001,                              // svc #0
			0x14000000,                              // b .
		} {
			code = binary.LittleEndian.AppendUint32(code, instruction)
		}
	}
	code = append(code, trialWords...)
	var b bytes.Buffer
	size := uint64(header + len(code))
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Entry: base + header,
			Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000},
		code,
	} {
		_ = binary.Write(&b, binary.LittleEndian, part) // into memory, of fixed size
	}
	return b.Bytes()
}
