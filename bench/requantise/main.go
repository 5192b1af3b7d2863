// Command requantise writes a copy of a GGUF model with its matrices as Q8_0,
// the format that the figures of the engine are stated for.
//
// Usage: requantise IN.gguf OUT.gguf
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/quant"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "requantise:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: requantise IN.gguf OUT.gguf")
	}
	ctx := context.Background()
	m, err := weights.Open(ctx, weights.Artifact{Model: args[0]})
	if err != nil {
		return err
	}
	defer m.Close()
	return durable.Write(args[1], 0o644, func(w io.Writer) error { return m.Requantise(ctx, w, quant.Q8_0) })
}
