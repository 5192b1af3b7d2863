// Command compare measures what it takes to identify and compare two models of
// the shapes of Llama 3.1 8B: processor time, as a multiple of that of plainly
// reading and hashing both files in the same run, and peak memory. Files are in
// the page cache, if they fit.
//
// The default is a scaled pair: one layer and an eighth of the vocabulary, with
// values. -sparse takes all 32 layers and the whole vocabulary of 128,256 with
// files of holes, which shows what memory the full size needs; its times are
// those of zeros.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// limit is the memory that a pair of 8B may take.
const limit = 2 << 30

func main() {
	sparse := flag.Bool("sparse", false, "all layers, as holes")
	child := flag.Bool("child", false, "compare two files and end: for the measurement of memory")
	flag.Parse()
	run := func() error { return bench(*sparse) }
	if *child {
		run = func() error { return measure(context.Background(), flag.Arg(0), flag.Arg(1)) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/compare:", err)
		os.Exit(1)
	}
}

const width, hidden, kv = 4096, 14336, 1024

// shapes are the matrices of a model, as columns and rows.
func shapes(layers, vocab int) (names []string, sizes [][2]int) {
	add := func(name string, cols, rows int) {
		names, sizes = append(names, name+".weight"), append(sizes, [2]int{cols, rows})
	}
	add("token_embd", width, vocab)
	for l := range layers {
		b := "blk." + strconv.Itoa(l) + "."
		add(b+"attn_q", width, width)
		add(b+"attn_k", width, kv)
		add(b+"attn_v", width, kv)
		add(b+"attn_output", width, width)
		add(b+"ffn_gate", width, hidden)
		add(b+"ffn_up", width, hidden)
		add(b+"ffn_down", hidden, width)
	}
	add("output", width, vocab)
	return names, sizes
}

// file writes a model; fill gives n bytes of a tensor.
func file(path string, t quant.Type, layers, vocab int, fill func(w io.Writer, tensor int, n int64) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	names, sizes := shapes(layers, vocab)
	var list []gguf.Source
	for i, name := range names {
		n, _ := t.RowBytes(uint64(sizes[i][0]) * uint64(sizes[i][1]))
		list = append(list, gguf.Source{Name: name, Type: t, Shape: []uint64{uint64(sizes[i][0]), uint64(sizes[i][1])},
			Data: func(w io.Writer) error { return fill(w, i, n) }})
	}
	h := &holes{f: f}
	if err := gguf.Write(h, []gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")},
		{Key: "llama.block_count", Value: gguf.V(uint32(layers))},
	}, list); err != nil {
		return err
	}
	return errors.Join(f.Truncate(h.at), f.Close())
}

// holes leaves out what is zero.
type holes struct {
	f  *os.File
	at int64
}

var zeros [1 << 20]byte

func (h *holes) Write(p []byte) (int, error) {
	if len(p) > len(zeros) || !bytes.Equal(p, zeros[:len(p)]) {
		if _, err := h.f.WriteAt(p, h.at); err != nil {
			return 0, err
		}
	}
	h.at += int64(len(p))
	return len(p), nil
}

func nothing(w io.Writer, _ int, n int64) error {
	for n > 0 {
		k := min(n, int64(len(zeros)))
		if _, err := w.Write(zeros[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// values are normal F16 values; every tensor takes them from another place. The
// candidate's are the same plus noise as of a fine-tune.
func values(noise float64) func(w io.Writer, tensor int, n int64) error {
	const pool = 1<<20 + 7
	raw := make([]byte, 4*pool)
	rng, other := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, 2))
	for i := range pool {
		v := rng.NormFloat64()*0.02 + other.NormFloat64()*0.02*noise
		h := quant.F32ToF16(float32(v))
		binary.LittleEndian.PutUint16(raw[2*i:], h)
		binary.LittleEndian.PutUint16(raw[2*(i+pool):], h)
	}
	return func(w io.Writer, tensor int, n int64) error {
		at := tensor * 104729 % pool
		for n > 0 {
			k := min(n, int64(2*pool))
			if _, err := w.Write(raw[2*at : 2*at+int(k)]); err != nil {
				return err
			}
			n -= k
		}
		return nil
	}
}

func bench(sparse bool) error {
	tmp, err := os.MkdirTemp("", "bench-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	base := filepath.Join(tmp, "base.gguf")
	pair := func(name, path string) error {
		err := compare(name, base, path)
		return errors.Join(err, os.Remove(path))
	}
	if sparse {
		if err := file(base, quant.F16, 32, 128256, nothing); err != nil {
			return err
		}
		for _, t := range []quant.Type{quant.F16, quant.Q8_0, quant.Q4_K} {
			other := filepath.Join(tmp, "other.gguf")
			if err := file(other, t, 32, 128256, nothing); err != nil {
				return err
			}
			if t == quant.F16 { // else the two are one file
				if err := poke(other); err != nil {
					return err
				}
			}
			if err := pair(t.String()+", holes", other); err != nil {
				return err
			}
		}
		return nil
	}
	const layers, vocab = 1, 16032
	if err := file(base, quant.F16, layers, vocab, values(0)); err != nil {
		return err
	}
	tuned := filepath.Join(tmp, "tuned.gguf")
	if err := file(tuned, quant.F16, layers, vocab, values(0.02)); err != nil {
		return err
	}
	if err := pair("F16, fine-tuned", tuned); err != nil {
		return err
	}
	m, err := weights.Open(context.Background(), weights.Artifact{Model: base})
	if err != nil {
		return err
	}
	defer m.Close()
	for _, t := range []quant.Type{quant.Q8_0, quant.Q4_0, quant.Q4_K, quant.Q6_K} {
		path := filepath.Join(tmp, t.String()+".gguf")
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(m.Requantise(context.Background(), f, t), f.Close()); err != nil {
			return err
		}
		if err := pair(t.String()+", requantised", path); err != nil {
			return err
		}
	}
	return nil
}

// poke changes the last value of a file.
func poke(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{0, 0x3c}, fi.Size()-64)
	return err
}

// compare runs one pair in a process of its own.
func compare(name, base, cand string) error {
	read, size, err := plain(base, cand)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-child", base, cand)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	fmt.Printf("%s: %.1f GB in two files; reading and hashing them takes %.1f s of a processor\n", name, float64(size)/1e9, read.Seconds())
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		what, seconds, _ := strings.Cut(line, "\t")
		s, err := strconv.ParseFloat(seconds, 64)
		if err != nil {
			return fmt.Errorf("the child printed %q: %w", line, err)
		}
		fmt.Printf("  %-44s %6.1f × that (%.1f s, %.0f MB/s of both files)\n", what, s/read.Seconds(), s, float64(size)/1e6/s)
	}
	fmt.Printf("  %-44s %6.2f GiB (aim %d)\n", "peak memory", float64(peak)/(1<<30), limit>>30)
	if peak > limit {
		return fmt.Errorf("%s: peak memory is %d bytes, above %d", name, peak, limit)
	}
	return nil
}

// plain reads and hashes both files, the second time for the record.
func plain(paths ...string) (took time.Duration, size int64, err error) {
	buf := make([]byte, 1<<20)
	for range 2 {
		size = 0
		began, err := processor()
		if err != nil {
			return 0, 0, err
		}
		for _, path := range paths {
			f, err := os.Open(path)
			if err != nil {
				return 0, 0, err
			}
			n, err := io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{f}, buf)
			if err = errors.Join(err, f.Close()); err != nil {
				return 0, 0, err
			}
			size += n
		}
		ended, err := processor()
		if err != nil {
			return 0, 0, err
		}
		took = ended - began
	}
	return took, size, nil
}

// processor is the time that all threads of this process have taken.
func processor() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// measure prints a line per stage: its name, a tab, seconds.
func measure(ctx context.Context, base, cand string) error {
	began := time.Duration(0)
	stage := func(name string) error {
		now, err := processor()
		fmt.Printf("%s\t%.3f\n", name, (now - began).Seconds())
		began = now
		return err
	}
	b, err := weights.Open(ctx, weights.Artifact{Model: base})
	if err != nil {
		return err
	}
	defer b.Close()
	c, err := weights.Open(ctx, weights.Artifact{Model: cand})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := stage("identify"); err != nil {
		return err
	}
	r, err := weights.Compare(ctx, b, c)
	if err != nil {
		return err
	}
	settled := ""
	if r.Relation.Settled {
		settled = ", settled"
	}
	if err := stage("compare: " + string(r.Relation.Kind) + settled); err != nil || r.Relation.Settled {
		return err
	}
	values := int64(0)
	for _, t := range r.Tensors {
		if t.Layer != 0 || t.SameBits {
			continue
		}
		if _, err := weights.DeltaSpectrum(ctx, b, c, t.Name, weights.SpectrumOptions{Seed: 1}); err != nil {
			return err
		}
		values += t.Values
	}
	if values == 0 {
		return nil
	}
	return stage(fmt.Sprintf("spectra of %d M values, one at a time", values/1e6))
}
