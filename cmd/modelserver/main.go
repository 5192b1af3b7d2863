//go:build engine

// Modelserver is the program inside a box: it loads one model with llama.cpp
// and answers on standard input and output.
//
//	modelserver -model FILE [-adapter FILE[@SCALE]]... [-ctx N] [-threads N] [-listen unix:PATH]
//
// It serves package wire's protocol (POST /v1/…) and a subset of Ollama's API
// (/api/generate, /api/chat, /api/show, /api/version) over HTTP/2. Weights are
// touched only when the host has accepted the box's self-test.
//
// A model that cannot be loaded does not end the program: every request is
// answered with a refusal of code "engine" that gives the reason. An assertion
// inside the engine ends it with SIGABRT, and the log has the reason.
//
// With -listen it serves a Unix socket instead, for tools outside a box.
//
// Exit codes: 0 the host closed the wire, 1 the wire broke, 64 bad flags,
// 70 the host fell silent.
package main

import (
	"os"

	"github.com/weighbridge/weighbridge/runners/template"
)

func main() {
	template.RunChild() // does not return in a renderer process
	os.Exit(run(os.Args[1:], os.Stderr))
}
