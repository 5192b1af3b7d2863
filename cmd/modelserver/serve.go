//go:build engine

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/weighbridge/weighbridge/cmd/modelserver/internal/api"
	"github.com/weighbridge/weighbridge/harness/sandbox/guest"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/llamacpp"
	"github.com/weighbridge/weighbridge/runners/template"
	"github.com/weighbridge/weighbridge/runners/wire"
)

const (
	exitBroken = 1
	exitUsage  = 64 // EX_USAGE in sysexits.h; 2 is a crash of Go's runtime
)

type config struct {
	llamacpp.Options
	listen string
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("modelserver", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.Model, "model", "", "GGUF `file`")
	f.Func("adapter", "LoRA adapter `file[@scale]`; may be repeated", func(s string) error {
		a, err := adapter(s)
		c.Adapters = append(c.Adapters, a)
		return err
	})
	f.IntVar(&c.Context, "ctx", 0, "context `tokens`; 0 is what the weights name, at most 4096")
	f.IntVar(&c.Threads, "threads", 0, "threads; 0 is one per core")
	f.StringVar(&c.listen, "listen", "", "serve `unix:PATH` instead of standard input and output")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	switch {
	case f.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case c.Model == "":
		return c, errors.New("-model is missing")
	case c.Context < 0 || c.Threads < 0:
		return c, errors.New("-ctx and -threads cannot be negative")
	case c.listen != "" && !strings.HasPrefix(c.listen, "unix:"):
		return c, fmt.Errorf("-listen %q: only unix:PATH", c.listen)
	}
	return c, nil
}

// adapter parses PATH or PATH@SCALE; a file may have an @ in its name when a
// scale follows.
func adapter(s string) (llamacpp.Adapter, error) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return llamacpp.Adapter{Path: s, Scale: 1}, nil
	}
	scale, err := strconv.ParseFloat(s[i+1:], 32)
	if err != nil {
		return llamacpp.Adapter{}, fmt.Errorf("scale %q of %s is not a number", s[i+1:], s[:i])
	}
	return llamacpp.Adapter{Path: s[:i], Scale: scale}, nil
}

func run(args []string, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "modelserver: %v\n", err)
		return exitUsage
	}
	l := newLater()
	load := func() {
		l.set(llamacpp.Open(c.Options, template.NewRenderer()))
		if l.err != nil {
			fmt.Fprintf(stderr, "modelserver: %v\n", l.err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", wire.Handler(l))
	mux.Handle("/api/", api.Handler(l, strings.TrimSuffix(filepath.Base(c.Model), ".gguf")))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.listen != "" {
		err = listen(ctx, strings.TrimPrefix(c.listen, "unix:"), mux, load)
	} else {
		err = stdio(ctx, mux, load)
	}
	if err != nil {
		fmt.Fprintf(stderr, "modelserver: %v\n", err)
		return exitBroken
	}
	return 0
}

func stdio(ctx context.Context, h http.Handler, load func()) error {
	w, err := guest.TakeOver()
	if err != nil {
		return err
	}
	return w.Serve(ctx, h, guest.Options{OnOpen: load})
}

func listen(ctx context.Context, path string, h http.Handler, load func()) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go load()
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: p, BaseContext: func(net.Listener) context.Context { return ctx }}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// later is a model that is still being loaded: requests wait for it.
type later struct {
	ready chan struct{}
	m     runners.Model
	err   error
}

func newLater() *later { return &later{ready: make(chan struct{})} }

func (l *later) set(m *llamacpp.Model, err error) {
	l.m, l.err = m, err
	close(l.ready)
}

func ask[Q, A any](ctx context.Context, l *later, q Q, f func(runners.Model, context.Context, Q) (A, error)) (a A, err error) {
	select {
	case <-l.ready:
	case <-ctx.Done():
		return a, ctx.Err()
	}
	if l.err != nil {
		return a, runners.Refused(runners.CodeEngine, -1, "%v", l.err)
	}
	return f(l.m, ctx, q)
}

func (l *later) Info(ctx context.Context) (*runners.Info, error) {
	return ask(ctx, l, struct{}{}, func(m runners.Model, ctx context.Context, _ struct{}) (*runners.Info, error) { return m.Info(ctx) })
}
func (l *later) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	return ask(ctx, l, r, runners.Model.Tokenize)
}
func (l *later) Detokenize(ctx context.Context, r *runners.DetokenizeRequest) (*runners.DetokenizeResult, error) {
	return ask(ctx, l, r, runners.Model.Detokenize)
}
func (l *later) Render(ctx context.Context, r *runners.RenderRequest) (*runners.RenderResult, error) {
	return ask(ctx, l, r, runners.Model.Render)
}
func (l *later) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	return ask(ctx, l, r, runners.Model.Score)
}
func (l *later) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	return ask(ctx, l, r, runners.Model.Generate)
}
