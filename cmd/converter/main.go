// Converter is the program inside a box that makes a GGUF file of a folder of
// safetensors, by Ollama's convert.
//
//	converter [-memory BYTES]
//
// It reads /weights and answers on standard input and output: see package
// protocol. The file is never on disk as a whole: what is finished is sent and
// given back to the file system, so that /tmp needs room for the largest tensor
// only. The same folder gives the same bytes.
//
// Exit codes: 0 the host closed the wire, 1 the wire broke, 64 bad flags,
// 70 the host fell silent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/weighbridge/weighbridge/harness/sandbox/guest"
	"github.com/weighbridge/weighbridge/supply/intake/convert/protocol"
)

const (
	exitBroken = 1
	exitUsage  = 64 // EX_USAGE in sysexits.h
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	f := flag.NewFlagSet("converter", flag.ContinueOnError)
	f.SetOutput(stderr)
	memory := f.Int64("memory", 0, "`bytes` of heap to stay below where possible; 0 is no aim")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || f.NArg() > 0 || *memory < 0 {
		fmt.Fprintln(stderr, "converter: usage: converter [-memory BYTES]")
		return exitUsage
	}
	if *memory > 0 {
		debug.SetMemoryLimit(*memory)
	}
	// convert writes as many tensors at once as this says. One after the other
	// is what lets the file be sent while it grows; see stream.
	runtime.GOMAXPROCS(1)
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))

	wire, err := guest.TakeOver()
	if err == nil {
		err = wire.Serve(context.Background(), handler(os.DirFS(protocol.Folder), os.TempDir()), guest.Options{})
	}
	if err != nil {
		fmt.Fprintf(stderr, "converter: %v\n", err)
		return exitBroken
	}
	return 0
}
