// Command ledger measures the transparency log: appends that are fsynced and
// proven, receipts, offline verification, and the audit of everything.
//
// Each step runs in a process of its own, so that its peak memory is its own.
// Ratios compare with what the same machine does in the same run: an fsynced
// write of a file, one raw Ed25519 verification, SHA-256 over the same bytes.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/audit"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// figure is what a step prints: operations and how long they took.
type figure struct {
	N      int
	Wall   float64   // seconds
	CPU    float64   // seconds
	PeakMB float64   // of the process
	Each   []float64 // seconds of single operations, where they were timed
}

var steps = []struct {
	name string
	run  func(dir string, n int) (figure, error)
}{
	{"fsynced file", files},
	{"append, 1 writer, proven", appendOne},
	{"append, 1 writer, durable", appendDurable},
	{"append, batched", appendMany},
	{"receipts", receipts},
	{"verify", verify},
	{"raw ed25519 verify", rawVerify},
	{"audit", auditAll},
	{"sha256 of the entries", hashAll},
}

func main() {
	n := flag.Int("n", 100_000, "entries")
	step := flag.Int("step", -1, "run this step only (used by the program itself)")
	dir := flag.String("dir", "", "folder of the step")
	flag.Parse()
	if err := run(*n, *step, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench/ledger:", err)
		os.Exit(1)
	}
}

func run(n, step int, dir string) error {
	if step >= 0 {
		before := usage()
		f, err := steps[step].run(dir, n)
		if err != nil {
			return err
		}
		after := usage()
		f.CPU = time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()).Seconds()
		f.PeakMB = float64(after.Maxrss) * 1024 / 1e6
		return json.NewEncoder(os.Stdout).Encode(f)
	}
	dir, err := os.MkdirTemp("", "bench-ledger-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	private, verifier, err := ledger.GenerateKey("bench.example/ledger")
	if err != nil {
		return err
	}
	key, err := ledger.ParseKey(private, verifier)
	if err != nil {
		return err
	}
	for _, name := range []string{"one", "many"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(ledger.Create(path, key), ledger.WriteKeyFile(path+".key", private)); err != nil {
			return err
		}
	}
	var out []figure
	for i, s := range steps {
		c := exec.Command(os.Args[0], "-n", strconv.Itoa(n), "-step", strconv.Itoa(i), "-dir", dir)
		c.Stderr = os.Stderr
		b, err := c.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		var f figure
		if err := json.Unmarshal(b, &f); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Println(f.line(s.name))
		out = append(out, f)
	}
	show(out)
	return nil
}

// line prints a step's figure.
func (f *figure) line(name string) string {
	s := fmt.Sprintf("  %-28s %7d in %7.2f s  %9.0f/s  CPU %6.2f s  peak %4.0f MB", name, f.N, f.Wall, float64(f.N)/f.Wall, f.CPU, f.PeakMB)
	if len(f.Each) > 0 {
		slices.Sort(f.Each)
		s += fmt.Sprintf("  median %.1f ms, 99%% %.1f ms", 1e3*f.median(), 1e3*f.Each[len(f.Each)*99/100])
	}
	return s
}

// median of the sorted single operations.
func (f *figure) median() float64 { return f.Each[len(f.Each)/2] }

func show(fs []figure) {
	rate := make(map[string]float64)
	median := make(map[string]float64)
	for i, s := range steps {
		rate[s.name] = float64(fs[i].N) / fs[i].Wall
		if len(fs[i].Each) > 0 {
			median[s.name] = fs[i].median()
		}
	}
	for _, r := range []struct {
		what string
		is   float64
	}{
		{"appends/s, batched and proven / one by one and proven", rate["append, batched"] / rate["append, 1 writer, proven"]},
		{"appends/s, batched and proven / one by one and durable", rate["append, batched"] / rate["append, 1 writer, durable"]},
		{"latency, one durable append / one fsynced file", median["append, 1 writer, durable"] / median["fsynced file"]},
		{"time, offline verification / raw Ed25519 verification", rate["raw ed25519 verify"] / rate["verify"]},
		{"time, audit / SHA-256 of the entries read from disk", rate["sha256 of the entries"] / rate["audit"]},
	} {
		fmt.Printf("  %-60s %8.2f\n", r.what, r.is)
	}
}

func usage() (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail with these arguments
	}
	return u
}

var digest = entry.SHA256(strings.Repeat("a", 64))

// verdict is an entry of the size that the gate writes.
func verdict(i int) ledger.Entry {
	e := entry.New(entry.Verdict, time.Unix(int64(1_700_000_000+i), 0), "ci@example.com")
	e.Model, e.Identity, e.Environment, e.Policy, e.Name = digest, digest, "prod", digest, "support/assistant"
	e.Decision, e.Reason = "approve", "all-required; no-finding"
	e.Evidence = []entry.Evidence{{Kind: "report", Digest: entry.SHA256(fmt.Sprintf("%064x", i))}, {Kind: "vsa", Digest: digest}}
	return e
}

func open(dir string, o ledger.Options) (*ledger.Ledger, error) {
	private, err := ledger.ReadKeyFile(dir + ".key")
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.VerifierKey(dir)
	if err != nil {
		return nil, err
	}
	if o.Key, err = ledger.ParseKey(private, verifier); err != nil {
		return nil, err
	}
	return ledger.Open(context.Background(), dir, o)
}

// timed runs one operation n times.
func timed(n int, op func(i int) error) (figure, error) {
	f := figure{N: n}
	start := time.Now()
	for i := range n {
		at := time.Now()
		if err := op(i); err != nil {
			return f, err
		}
		f.Each = append(f.Each, time.Since(at).Seconds())
	}
	f.Wall = time.Since(start).Seconds()
	return f, nil
}

func files(dir string, _ int) (figure, error) {
	raw, err := verdict(1).Canonical()
	if err != nil {
		return figure{}, err
	}
	return timed(200, func(i int) error {
		return durable.Write(filepath.Join(dir, "file"), 0o644, func(w io.Writer) error {
			_, err := w.Write(raw)
			return err
		})
	})
}

func appendOne(dir string, _ int) (f figure, err error) {
	l, err := open(filepath.Join(dir, "one"), ledger.Options{})
	if err != nil {
		return f, err
	}
	f, err = timed(100, func(i int) error {
		_, err := l.Append(context.Background(), verdict(i))
		return err
	})
	return f, errors.Join(err, l.Close())
}

func appendDurable(dir string, _ int) (f figure, err error) {
	l, err := open(filepath.Join(dir, "one"), ledger.Options{})
	if err != nil {
		return f, err
	}
	at := entry.None
	f, err = timed(300, func(i int) error {
		e := verdict(i)
		e.Type, e.Decision, e.Alias, e.Previous, e.Reason = entry.Rollback, "", "champion", at, "benchmark"
		e.Model = entry.SHA256(fmt.Sprintf("%064x", i))
		e.New = string(e.Model)
		at = e.New
		_, err := l.AppendDurable(context.Background(), e)
		return err
	})
	return f, errors.Join(err, l.Close())
}

// appendMany appends from many goroutines at once, each waiting for its proof,
// as the gate's server does for many requests.
func appendMany(dir string, n int) (f figure, err error) {
	l, err := open(filepath.Join(dir, "many"), ledger.Options{Batch: 1024, BatchAge: 5 * time.Millisecond, Timeout: time.Minute})
	if err != nil {
		return f, err
	}
	f.N = n
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, 4096)
	start := time.Now()
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				_, errs[w] = l.Append(context.Background(), verdict(i))
			}
		})
	}
	wg.Wait()
	f.Wall = time.Since(start).Seconds()
	return f, errors.Join(errors.Join(errs...), l.Close())
}

func trust(dir string) (*proof.Policy, *proof.Checkpoint, tiles.Dir, error) {
	d := tiles.Dir(filepath.Join(dir, "many"))
	verifier, err := ledger.VerifierKey(string(d))
	if err != nil {
		return nil, nil, d, err
	}
	p, err := proof.ForKey(verifier)
	if err != nil {
		return nil, nil, d, err
	}
	raw, err := d.Checkpoint()
	if err != nil {
		return nil, nil, d, err
	}
	c, err := p.Open(raw)
	return p, c, d, err
}

func receipts(dir string, _ int) (f figure, err error) {
	_, c, d, err := trust(dir)
	if err != nil {
		return f, err
	}
	r := rand.New(rand.NewPCG(1, 1))
	return timed(5000, func(int) error {
		_, err := d.Prove(c, r.Int64N(c.N))
		return err
	})
}

func verify(dir string, _ int) (f figure, err error) {
	p, c, d, err := trust(dir)
	if err != nil {
		return f, err
	}
	r := rand.New(rand.NewPCG(1, 1))
	const n = 200
	var proofs, entries [n][]byte
	for i := range n {
		at := r.Int64N(c.N)
		x, err := d.Prove(c, at)
		if err != nil {
			return f, err
		}
		proofs[i] = x.Marshal()
		if entries[i], err = d.Entry(at, c.N); err != nil {
			return f, err
		}
	}
	return timed(20_000, func(i int) error {
		_, err := proof.Verify(proofs[i%n], entries[i%n], p)
		return err
	})
}

func rawVerify(dir string, _ int) (f figure, err error) {
	_, c, _, err := trust(dir)
	if err != nil {
		return f, err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return f, err
	}
	sig := ed25519.Sign(private, c.Raw)
	return timed(20_000, func(int) error {
		if !ed25519.Verify(public, c.Raw, sig) {
			return errors.New("signature does not hold")
		}
		return nil
	})
}

func auditAll(dir string, n int) (f figure, err error) {
	p, _, d, err := trust(dir)
	if err != nil {
		return f, err
	}
	start := time.Now()
	r, err := audit.Run(context.Background(), string(d), audit.Options{Policy: p})
	if err != nil {
		return f, err
	}
	if r.Bad != nil || r.Size != int64(n) {
		return f, fmt.Errorf("audit: %d entries, %v", r.Size, r.Bad)
	}
	return figure{N: n, Wall: time.Since(start).Seconds()}, nil
}

func hashAll(dir string, n int) (f figure, err error) {
	_, c, d, err := trust(dir)
	if err != nil {
		return f, err
	}
	start := time.Now()
	for _, item := range d.Bundles(0, c.N) {
		if item.Err != nil {
			return f, item.Err
		}
		_ = sha256.Sum256(item.Raw)
	}
	return figure{N: n, Wall: time.Since(start).Seconds()}, nil
}
