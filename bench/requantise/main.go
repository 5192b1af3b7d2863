// Command requantise writes a copy of a GGUF model with its matrices in another
// type: Q8_0, for which the figures of the engine are stated, or a given one.
//
// Usage: requantise IN.gguf OUT.gguf [TYPE]
//
// TYPE is a type such as Q4_K, or Q4_K_M or Q5_K_M. Rows that are no multiple of
// 256 values get the type that llama.cpp takes instead of a k-quant.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/weights"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "requantise:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 {
		args = append(args, "Q8_0")
	}
	if len(args) != 3 {
		return fmt.Errorf("usage: requantise IN.gguf OUT.gguf [TYPE]")
	}
	ctx := context.Background()
	m, err := weights.Open(ctx, weights.Artifact{Model: args[0]})
	if err != nil {
		return err
	}
	defer m.Close()
	return durable.Write(args[1], 0o644, func(w io.Writer) error { return m.RequantiseMix(ctx, w, args[2]) })
}
