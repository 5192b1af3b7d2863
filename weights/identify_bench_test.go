package weights_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

const benchBytes = 100 << 20

// hundredMB writes a model file of 100 MiB of random Q8_0 blocks.
func hundredMB(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "model.gguf")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	rows := uint64(benchBytes / 100 / quant.Q8_0.BlockBytes() / 128)
	meta := []gguf.KV{{Key: "general.architecture", Value: gguf.V("llama")}}
	var tensors []gguf.Source
	rng := rand.NewChaCha8([32]byte{1})
	for i := range 100 {
		tensors = append(tensors, gguf.Source{
			Name: "blk." + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ".ffn_up.weight", Type: quant.Q8_0, Shape: []uint64{32 * 128, rows},
			Data: func(w io.Writer) error {
				_, err := io.CopyN(w, rng, int64(rows)*128*int64(quant.Q8_0.BlockBytes()))
				return err
			},
		})
	}
	if err := gguf.Write(f, meta, tensors); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkIdentify opens, validates and hashes a file of 100 MiB, and prints
// its speed as a multiple of what the command sha256sum takes for the same file,
// in the same process and cache, turn by turn. The aim is 0.8.
func BenchmarkIdentify(b *testing.B) {
	sha256sum, err := exec.LookPath("sha256sum")
	testreq.Need(b, err == nil, "the command sha256sum (Debian package coreutils)")
	path := hundredMB(b)
	var ours, theirs time.Duration
	b.SetBytes(benchBytes)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		start := time.Now()
		out, err := exec.Command(sha256sum, path).Output()
		theirs += time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		start = time.Now()
		m, err := weights.Open(context.Background(), weights.Artifact{Model: path})
		ours += time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		digest, err := hex.DecodeString(m.Files()[0].SHA256)
		if err != nil || !bytes.HasPrefix(out, []byte(hex.EncodeToString(digest))) {
			b.Fatalf("digest %x, sha256sum says %s", digest, out)
		}
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "×sha256sum")
}

// BenchmarkCompare compares a file of 100 MiB of Q8_0 with its requantisation to
// Q4_0, the worst case: every value is decoded twice and encoded once.
func BenchmarkCompare(b *testing.B) {
	path := hundredMB(b)
	ctx := context.Background()
	base, err := weights.Open(ctx, weights.Artifact{Model: path})
	if err != nil {
		b.Fatal(err)
	}
	defer base.Close()
	other := path + ".q4"
	f, err := os.Create(other)
	if err != nil {
		b.Fatal(err)
	}
	if err := base.Requantise(ctx, f, quant.Q4_0); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	cand, err := weights.Open(ctx, weights.Artifact{Model: other})
	if err != nil {
		b.Fatal(err)
	}
	defer cand.Close()
	var values int64
	for _, t := range base.Tensors() {
		values += t.Values()
	}
	b.ResetTimer()
	for range b.N {
		if _, err := weights.Compare(ctx, base, cand); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(values)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mvalues/s")
}
