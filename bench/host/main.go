// Command host measures what the harness itself costs: CPU time of this process
// per generate request, at 10,000 requests to a stub server in another process,
// from the request to the durable measurement. The stub answers at once, so
// what is left is encoding, the wire, checking, and the store.
//
// A request here is one prompt. Probes send them in groups, and the group is
// the unit of the wire and of the store; both ways are printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/wire"
)

func main() {
	stub := flag.String("stub", "", "serve the stub on this socket")
	n := flag.Int("n", 10_000, "requests")
	flag.Parse()
	run := func() error { return bench(*n) }
	if *stub != "" {
		run = func() error { return serve(*stub) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/host:", err)
		os.Exit(1)
	}
}

// instant is a model that thinks nothing.
type instant struct{ runners.Model }

func (instant) Info(context.Context) (*runners.Info, error) {
	return &runners.Info{Engine: "stub", VocabSize: 50_000, ContextLength: 4096, BOS: 1, EOS: 2, EOT: 2, CanScore: true}, nil
}

func (instant) Generate(_ context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	g := runners.Generation{Text: []byte("an answer of sixteen tokens, as short answers are"), Stop: runners.StopLength}
	for i := range r.MaxTokens {
		g.Tokens, g.LogProb = append(g.Tokens, runners.Token(1000+i)), append(g.LogProb, -0.5)
	}
	a := &runners.GenerateResult{}
	for _, p := range r.Prompts {
		a.Generations = append(a.Generations, g)
		a.Usage.Asked += len(p) + r.MaxTokens
		a.Usage.Decoded += len(p) + r.MaxTokens
	}
	return a, nil
}

func h2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

func serve(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: wire.Handler(instant{}), Protocols: h2()}).Serve(l)
}

// launcher hands out the client of the stub.
type launcher struct{ model runners.Model }

func (l launcher) Key() string                                     { return "stub" }
func (l launcher) Launch(context.Context) (measure.Session, error) { return session(l), nil }

type session launcher

func (s session) Model() runners.Model                                { return s.model }
func (s session) Proof() record.Box                                   { return record.Box{} }
func (s session) End(context.Context) (sandbox.End, error)            { return sandbox.End{}, nil }
func (s session) GiveUp(context.Context, string) (sandbox.End, error) { return sandbox.End{}, nil }
func (s session) Stop(context.Context) error                          { return nil }

func bench(n int) error {
	dir, err := os.MkdirTemp("", "bench-host")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	child := exec.Command(os.Args[0], "-stub", socket)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	defer child.Process.Kill()
	for i := 0; ; i++ {
		if _, err := os.Stat(socket); err == nil {
			break
		} else if i > 500 {
			return fmt.Errorf("the stub did not start: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	client := &http.Client{Transport: &http.Transport{Protocols: h2(), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	for _, group := range []int{64, 1} {
		store, err := measure.OpenStore(filepath.Join(dir, fmt.Sprint(group)))
		if err != nil {
			return err
		}
		m := measure.NewModel(measure.Config{Side: "candidate", Identity: "stub", Store: store, Launcher: launcher{wire.NewClient(client)}})
		if _, err := m.Info(context.Background()); err != nil {
			return err
		}
		for _, pass := range []string{"measured", "remembered"} {
			cpu, wall, err := generate(m, n, group)
			if err != nil {
				return err
			}
			fmt.Printf("host CPU per generate request, %s, groups of %d: %.1f µs (aim 50 µs; ratio %.2f), wall %.1f µs\n", pass, group,
				cpu.Seconds()/float64(n)*1e6, cpu.Seconds()/float64(n)*1e6/50, wall.Seconds()/float64(n)*1e6)
		}
	}
	return nil
}

func generate(m runners.Model, n, group int) (cpu, wall time.Duration, err error) {
	before, began := used(), time.Now()
	for i := 0; i < n; i += group {
		r := &runners.GenerateRequest{MaxTokens: 16}
		for j := i; j < min(i+group, n); j++ {
			p := make([]runners.Token, 32)
			for k := range p {
				p[k] = runners.Token((j*31 + k) % 50_000)
			}
			r.Prompts = append(r.Prompts, p)
		}
		if _, err := m.Generate(context.Background(), r); err != nil {
			return 0, 0, err
		}
	}
	return used() - before, time.Since(began), nil
}

// used is the CPU time of this process so far, user and system.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
