// Command hash measures how fast a model folder becomes a manifest, against
// sha256sum (and openssl, which uses the processor's instructions) over the same
// files on the same cores, how long a signature of many small files takes to
// verify, and how much memory 10 GiB need.
//
// Ratios are medians over rounds in which the programs take turns; files are in
// the page cache.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/signing"
)

func main() {
	child := flag.String("child", "", "hash this folder and end: for the measurement of memory")
	rounds := flag.Int("rounds", 5, "rounds of each comparison")
	flag.Parse()
	run := func() error { return bench(*rounds) }
	if *child != "" {
		run = func() error { _, err := manifest.Dir(context.Background(), *child, manifest.Options{}); return err }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/hash:", err)
		os.Exit(1)
	}
}

func bench(rounds int) error {
	tmp, err := os.MkdirTemp("", "bench-hash-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fmt.Printf("%d cores\n", runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		name     string
		files    int
		size     int64
		aim      float64
		opponent []string
	}{
		{"one file of 1 GiB", 1, 1 << 30, 0.95, []string{"sha256sum"}},
		{"one file of 1 GiB", 1, 1 << 30, 0.95, []string{"openssl", "dgst", "-sha256"}},
		{"2,000 files of 512 KiB", 2000, 512 << 10, 1.8, []string{"sha256sum"}},
		{"2,000 files of 512 KiB", 2000, 512 << 10, 1.8, []string{"openssl", "dgst", "-sha256"}},
	} {
		dir := filepath.Join(tmp, fmt.Sprint(c.files))
		names, err := fill(dir, c.files, c.size)
		if err != nil {
			return err
		}
		ratio, ours, err := compare(dir, names, rounds, c.opponent)
		if err != nil {
			return err
		}
		fmt.Printf("%-28s %5.2f times the speed of %s (aim %.2f), %.0f MB/s\n", c.name, ratio, c.opponent[0], c.aim,
			float64(c.size)*float64(c.files)/1e6/ours.Seconds())
	}
	if err := small(filepath.Join(tmp, "small"), rounds); err != nil {
		return err
	}
	return memory(filepath.Join(tmp, "sparse"))
}

// fill writes the files once.
func fill(dir string, n int, size int64) ([]string, error) {
	names := make([]string, n)
	for i := range names {
		names[i] = filepath.Join(dir, fmt.Sprintf("part-%05d.safetensors", i))
	}
	if err := os.Mkdir(dir, 0o755); os.IsExist(err) {
		return names, nil
	} else if err != nil {
		return nil, err
	}
	noise := mrand.NewChaCha8([32]byte{1})
	buf := make([]byte, min(size, 1<<20))
	for _, name := range names {
		f, err := os.Create(name)
		if err != nil {
			return nil, err
		}
		for left := size; left > 0; left -= int64(len(buf)) {
			noise.Read(buf)
			if _, err := f.Write(buf); err != nil {
				return nil, err
			}
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func compare(dir string, names []string, rounds int, opponent []string) (ratio float64, ours time.Duration, err error) {
	var ratios []float64
	var times []time.Duration
	for range rounds {
		began := time.Now()
		m, err := manifest.Dir(context.Background(), dir, manifest.Options{})
		if err != nil {
			return 0, 0, err
		}
		mine := time.Since(began)
		began = time.Now()
		out, err := exec.Command(opponent[0], append(slices.Clone(opponent[1:]), names...)...).Output()
		if err != nil {
			return 0, 0, err
		}
		theirs := time.Since(began)
		if want := fmt.Appendf(nil, "%x", m.Resources[0].Digest); !bytes.Contains(out, want) {
			return 0, 0, fmt.Errorf("%s and weighbridge disagree about %s", opponent[0], names[0])
		}
		ratios, times = append(ratios, theirs.Seconds()/mine.Seconds()), append(times, mine)
	}
	slices.Sort(ratios)
	slices.Sort(times)
	return ratios[rounds/2], times[rounds/2], nil
}

// small verifies the signature of 10,000 files from its bytes to the verdict.
func small(dir string, rounds int) error {
	names, err := fill(dir, 10_000, 4<<10)
	if err != nil {
		return err
	}
	signer, err := newSigner()
	if err != nil {
		return err
	}
	ctx := context.Background()
	signed, err := signing.Sign(ctx, dir, signer, signing.Options{})
	if err != nil {
		return err
	}
	var times, ratios []float64
	var openTime time.Duration
	for range rounds {
		began := time.Now()
		s, err := signing.Open(signed.Bundle)
		if err != nil {
			return err
		}
		if err := s.Bundle.VerifyKey(signer.Public()); err != nil {
			return err
		}
		openTime = time.Since(began)
		_, problems, err := signing.Compare(ctx, dir, s, signing.Options{})
		if err != nil || len(problems) > 0 {
			return fmt.Errorf("%v, %v", problems, err)
		}
		mine := time.Since(began).Seconds()
		began = time.Now()
		if _, err := exec.Command("sha256sum", names...).Output(); err != nil {
			return err
		}
		times, ratios = append(times, mine), append(ratios, time.Since(began).Seconds()/mine)
	}
	slices.Sort(times)
	slices.Sort(ratios)
	fmt.Printf("%-28s %5.2f times the speed of sha256sum; %.0f ms, of which %.0f ms for the signature\n",
		"verify 10,000 files of 4 KiB", ratios[rounds/2], 1e3*times[rounds/2], 1e3*openTime.Seconds())
	return nil
}

func newSigner() (*bundle.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return bundle.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// memory hashes 10 GiB of holes in a process of its own.
func memory(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	const files, size = 10, 1 << 30
	for i := range files {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			return err
		}
		if err := os.Truncate(name, size); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, "-child", dir)
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return err
	}
	peak := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss // KiB on Linux
	fmt.Printf("%-28s %5.0f MiB of memory at most (aim 100)\n", "10 GiB in 10 sparse files", float64(peak)/1024)
	return nil
}
