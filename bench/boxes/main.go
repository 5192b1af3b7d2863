//go:build engine

// Command boxes prints what boxes cost on a real model: tokens scored per second
// through a box beside the engine's own loop in this process without one, on
// the same tokens in the same batches, turn by turn; and two models in parallel
// beside one after the other.
//
// Every model has one thread, as in a run of two boxes on two cores.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/llamacpp"
	"github.com/weighbridge/weighbridge/runners/template"
	"github.com/weighbridge/weighbridge/weights"
)

func main() {
	template.RunChild()
	model := flag.String("model", "", "GGUF `file`")
	engine := flag.String("engine", "bin/modelserver", "the program in the box")
	runtime := flag.String("runtime", sandbox.Runc, "runc or runsc")
	rounds := flag.Int("rounds", 3, "turns; the best of each side counts")
	flag.Parse()
	if err := run(context.Background(), *model, *engine, *runtime, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench/boxes:", err)
		os.Exit(1)
	}
}

// request is 16 sequences without a common prefix, asked at every position;
// turn keeps requests apart.
func request(turn, vocab int) *runners.ScoreRequest {
	r := &runners.ScoreRequest{}
	for q := range 16 {
		ids := make([]runners.Token, 65)
		for i := range ids {
			ids[i] = runners.Token((97*q + 37*i + 11*q*i + 13*turn) % vocab)
		}
		ids[0] = runners.Token(q + 16*turn)
		r.Sequences = append(r.Sequences, runners.Sequence{Tokens: ids, From: 1})
	}
	return r
}

func run(ctx context.Context, model, engine, runtime string, rounds int) (err error) {
	path, err := filepath.Abs(model)
	if err != nil {
		return err
	}
	raw, err := llamacpp.Open(llamacpp.Options{Model: path, Threads: 1}, nil)
	if err != nil {
		return err
	}
	defer raw.Close()
	info, err := raw.Info(ctx)
	if err != nil {
		return err
	}
	host, err := sandbox.Open(ctx, sandbox.Config{Runtime: runtime})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	w, err := weights.Open(ctx, weights.Artifact{Model: path})
	if err != nil {
		return err
	}
	defer w.Close()
	e, err := measure.OpenEngine(engine)
	if err != nil {
		return err
	}
	var boxed []runners.Model
	for _, side := range []string{"baseline", "candidate"} {
		l := &measure.BoxLauncher{Host: func() (*sandbox.Host, error) { return host, nil }, Runtime: runtime, Engine: e, Side: side, Weights: w, Threads: 1, Life: time.Hour}
		s, err := l.Launch(ctx)
		if err != nil {
			return err
		}
		defer s.Stop(ctx)
		boxed = append(boxed, s.Model())
	}
	score := func(m runners.Model, turn int) (time.Duration, error) {
		began := time.Now()
		_, err := m.Score(ctx, request(turn, info.VocabSize))
		return time.Since(began), err
	}
	loop, box, serial, parallel := never, never, never, never
	for turn := range rounds + 1 { // one to warm up, in which both load
		began := time.Now()
		if _, err := raw.RawLoop(ctx, request(turn, info.VocabSize)); err != nil {
			return err
		}
		a := time.Since(began)
		b, err := score(boxed[0], turn)
		if err != nil {
			return err
		}
		c, err := score(boxed[1], turn)
		if err != nil {
			return err
		}
		began = time.Now()
		var g errgroup.Group
		for _, m := range boxed {
			g.Go(func() error {
				_, err := score(m, turn)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if d := time.Since(began); turn > 0 {
			loop, box, serial, parallel = min(loop, a), min(box, b), min(serial, b+c), min(parallel, d)
		}
	}
	const tokens = 16 * 64
	fmt.Printf("scored tokens/s through a box (%s) / raw engine loop: %.1f / %.1f = %.3f (aim 0.95)\n",
		runtime, tokens/box.Seconds(), tokens/loop.Seconds(), loop.Seconds()/box.Seconds())
	fmt.Printf("both sides one after the other / in parallel: %.2f s / %.2f s = %.2f (aim 1.8)\n",
		serial.Seconds(), parallel.Seconds(), serial.Seconds()/parallel.Seconds())
	return nil
}

const never = time.Duration(1 << 62)
