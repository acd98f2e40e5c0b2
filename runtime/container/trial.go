package container

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
)

// trialProgram is the path of the program of a trial box.
const trialProgram = closure.ProgramPath

// trialFiles is a closure of one tiny program, outside of any store.
type trialFiles struct {
	dir      string
	program  []byte
	manifest *closure.Manifest
	digest   closure.Digest
}

var _ driver.Files = (*trialFiles)(nil)

// makeTrialFiles makes the closure of a program that dials a unix socket and ends with the number of
// the error, 0 for none.
func makeTrialFiles(dir, socket string) (*trialFiles, error) {
	program, err := dialer(runtime.GOARCH, socket)
	if err != nil {
		return nil, err
	}
	f := &trialFiles{dir: dir, program: program}
	f.manifest = &closure.Manifest{Version: closure.Version, Platform: "linux/" + runtime.GOARCH, Files: []closure.File{
		{Path: trialProgram, Kind: closure.Program, Executable: true, Size: int64(len(program)), SHA256: closure.Sum(program)},
	}}
	f.digest, err = f.manifest.Digest()
	return f, err
}

// Digest implements driver.Files.
func (f *trialFiles) Digest() string { return "sha256:" + string(f.digest) }

// Manifest implements driver.Files.
func (f *trialFiles) Manifest(context.Context) (*closure.Manifest, error) { return f.manifest, nil }

// Folder implements driver.Files; a container needs none.
func (f *trialFiles) Folder(context.Context) (string, error) { return "", errors.ErrUnsupported }

// Pack implements driver.Files.
func (f *trialFiles) Pack(_ context.Context, way store.Packing) (store.Packed, error) {
	var out bytes.Buffer
	if err := way.Pack(&out, f.manifest, f); err != nil {
		return store.Packed{}, err
	}
	at := filepath.Join(f.dir, "image.tar")
	return store.Packed{Path: at, SHA256: closure.Sum(out.Bytes()), Size: int64(out.Len())}, os.WriteFile(at, out.Bytes(), 0o600)
}

// Open implements closure.Contents.
func (f *trialFiles) Open(closure.Digest) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.program)), nil
}

var _ closure.Contents = (*trialFiles)(nil)

// unixAddress is the size of a struct sockaddr_un (unix(7)).
const unixAddress = 110

// dialer makes an ELF program for Linux, without any library, of three system calls: socket, connect,
// exit_group.
func dialer(arch, socket string) ([]byte, error) {
	var machine elf.Machine
	var code []byte
	switch arch {
	case "amd64":
		machine, code = elf.EM_X86_64, dialerAMD64()
	case "arm64":
		machine, code = elf.EM_AARCH64, dialerARM64()
	default:
		return nil, fmt.Errorf("no trial program for %s", arch)
	}
	address := append([]byte{1, 0}, socket...) // AF_UNIX
	if len(address) >= unixAddress {
		return nil, fmt.Errorf("path %q is too long for a unix socket", socket)
	}
	return program(machine, append(code, append(address, make([]byte, unixAddress-len(address))...)...)), nil
}

// dialerAMD64 expects the address right behind it.
func dialerAMD64() []byte {
	return []byte{
		0xb8, 41, 0, 0, 0, //       mov  eax, SYS_socket
		0xbf, 1, 0, 0, 0, //        mov  edi, AF_UNIX
		0xbe, 1, 0, 0, 0, //        mov  esi, SOCK_STREAM
		0x31, 0xd2, //              xor  edx, edx
		0x0f, 0x05, //              syscall
		0x89, 0xc7, //              mov  edi, eax
		0xb8, 42, 0, 0, 0, //       mov  eax, SYS_connect
		0x48, 0x8d, 0x35, 20, 0, 0, 0, // lea rsi, [rip+20]: behind the last instruction
		0xba, unixAddress, 0, 0, 0, // mov edx, 110
		0x0f, 0x05, //              syscall
		0xf7, 0xd8, //              neg  eax
		0x89, 0xc7, //              mov  edi, eax
		0xb8, 231, 0, 0, 0, //      mov  eax, SYS_exit_group
		0x0f, 0x05, //              syscall
		0x0f, 0x0b, //              ud2
	}
}

// dialerARM64 expects the address right behind it.
func dialerARM64() []byte {
	var code []byte
	for _, word := range []uint32{
		0xd2800000 | 198<<5 | 8,         //         mov x8, SYS_socket
		0xd2800000 | 1<<5,               // mov x0, AF_UNIX
		0xd2800000 | 1<<5 | 1,           //         mov x1, SOCK_STREAM
		0xd2800000 | 0<<5 | 2,           //         mov x2, 0
		0xd4000001,                      //         svc 0
		0xd2800000 | 203<<5 | 8,         //         mov x8, SYS_connect
		0x10000000 | 6<<5 | 1,           //         adr x1, 6 instructions on: behind the last one
		0xd2800000 | unixAddress<<5 | 2, // mov x2, 110
		0xd4000001,                      //         svc 0
		0xcb0003e0,                      //         neg x0, x0
		0xd2800000 | 94<<5 | 8,          //         mov x8, SYS_exit_group
		0xd4000001,                      //         svc 0
	} {
		code = binary.LittleEndian.AppendUint32(code, word)
	}
	return code
}

// loadAt is where the program is loaded, a page's start on either platform.
const loadAt = 0x400000

// program puts the headers of ELF before code, all in one segment (elf(5)).
func program(machine elf.Machine, code []byte) []byte {
	const headers = 64 + 56
	head := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: loadAt + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(head.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)})
	size := uint64(headers + len(code))
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: loadAt, Paddr: loadAt,
		Filesz: size, Memsz: size, Align: 0x10000,
	}
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, head) // a buffer takes all
	_ = binary.Write(&out, binary.LittleEndian, segment)
	out.Write(code)
	return out.Bytes()
}
