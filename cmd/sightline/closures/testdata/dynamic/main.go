// Command dynamic stands in for a stage's program that needs the C library and opens others.
package main

/*
#cgo LDFLAGS: -Wl,--no-as-needed -ldl -lm
#include <dlfcn.h>
#include <stdlib.h>
*/
import "C"

import (
	"os"
	"unsafe"
)

func main() {
	for _, name := range os.Args[1:] {
		text := C.CString(name)
		if C.dlopen(text, C.RTLD_NOW) == nil {
			println(C.GoString(C.dlerror()))
			os.Exit(1)
		}
		C.free(unsafe.Pointer(text))
	}
}
