//go:build engine

// Engine prints what scoring through package llamacpp costs beside llama.cpp's
// own decode loop on the same tokens: the ratio of tokens per second, the share
// of time that the reduction of rows takes, and how many tokens of a workload
// with shared prefixes are decoded.
//
// Each figure is taken by the wall clock and by the process's CPU time. Use
// -threads 1 where other work runs: llama.cpp's threads spin while they wait
// for each other, which counts as CPU time and stalls on a busy core.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/llamacpp"
)

func main() {
	model := flag.String("model", "", "GGUF `file`")
	threads := flag.Int("threads", 0, "threads; 0 is one per core")
	rounds := flag.Int("rounds", 5, "alternating rounds; the best of each side counts")
	flag.Parse()
	if err := run(*model, *threads, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench/engine:", err)
		os.Exit(1)
	}
}

const (
	sequences = 16
	length    = 65 // 64 are decoded
)

func run(model string, threads, rounds int) error {
	m, err := llamacpp.Open(llamacpp.Options{Model: model, Threads: threads}, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	ctx := context.Background()
	info, err := m.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Println(info.Engine)

	// Sequences without a common prefix, every position asked: the two sides
	// decode the same batches.
	r := &runners.ScoreRequest{}
	for q := range sequences {
		ids := make([]runners.Token, length)
		for i := range ids {
			ids[i] = runners.Token((97*q + 37*i + 11*q*i) % info.VocabSize)
		}
		ids[0] = runners.Token(q)
		r.Sequences = append(r.Sequences, runners.Sequence{Tokens: ids, From: 1})
	}
	raw, ours := cost{1 << 62, 1 << 62}, cost{1 << 62, 1 << 62}
	var tokens int
	var reduce time.Duration
	for range rounds + 1 { // one to warm up
		begin := now()
		n, err := m.RawLoop(ctx, r)
		if err != nil {
			return err
		}
		raw.least(now().minus(begin))
		tokens = n
		m.ResetReduced()
		begin = now()
		a, err := m.Score(ctx, r)
		if err != nil {
			return err
		}
		if c := now().minus(begin); c.wall < ours.wall {
			reduce = m.Reduced()
			ours.least(c)
		} else {
			ours.least(c)
		}
		if a.Usage.Decoded != n {
			return fmt.Errorf("score decoded %d tokens, the raw loop %d", a.Usage.Decoded, n)
		}
	}
	rate := func(d time.Duration) float64 { return float64(tokens) / d.Seconds() }
	fmt.Printf("raw llama_decode loop   %8.1f tokens/s   %8.1f per CPU second   (%d tokens, logits at each)\n", rate(raw.wall), rate(raw.cpu), tokens)
	fmt.Printf("score                   %8.1f tokens/s   %8.1f per CPU second\n", rate(ours.wall), rate(ours.cpu))
	fmt.Printf("score / raw             %8.3f            %8.3f\n", raw.wall.Seconds()/ours.wall.Seconds(), raw.cpu.Seconds()/ours.cpu.Seconds())
	fmt.Printf("reduction of rows       %8.2f %% of decode\n", 100*reduce.Seconds()/(ours.wall-reduce).Seconds())

	// Fifty questions of 40 tokens, four answers of 6 each, as in multiple choice
	// behind a common instruction of 60 tokens.
	head := make([]runners.Token, 60)
	for i := range head {
		head[i] = runners.Token(1000+7*i) % runners.Token(info.VocabSize)
	}
	s := &runners.ScoreRequest{}
	for q := range 50 {
		for c := range 4 {
			ids := slices.Clone(head)
			for i := range 40 {
				ids = append(ids, runners.Token((500+31*q+13*i)%info.VocabSize))
			}
			for i := range 6 {
				ids = append(ids, runners.Token((900+101*c+17*i+q)%info.VocabSize))
			}
			s.Sequences = append(s.Sequences, runners.Sequence{Tokens: ids, From: 100})
		}
	}
	begin := now()
	a, err := m.Score(ctx, s)
	if err != nil {
		return err
	}
	c := now().minus(begin)
	fmt.Printf("shared prefixes         %8.3f decoded / asked (%d of %d), %.1f asked tokens/s, %.1f decoded per CPU second\n",
		float64(a.Usage.Decoded)/float64(a.Usage.Asked), a.Usage.Decoded, a.Usage.Asked,
		float64(a.Usage.Asked)/c.wall.Seconds(), float64(a.Usage.Decoded)/c.cpu.Seconds())
	return nil
}

// cost is a span of the two clocks.
type cost struct{ wall, cpu time.Duration }

var start = time.Now()

func now() cost {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // its arguments are constants
	}
	return cost{time.Since(start), time.Duration(u.Utime.Nano() + u.Stime.Nano())}
}

func (c cost) minus(d cost) cost { return cost{c.wall - d.wall, c.cpu - d.cpu} }

func (c *cost) least(d cost) { c.wall, c.cpu = min(c.wall, d.wall), min(c.cpu, d.cpu) }
