// Intake takes a sparse model of 10 GiB into a store and prints the time it took
// against sha256sum over the same file, and the largest memory it had.
//
//	go run ./bench/intake [-gib N] [-dir DIR]
//
// The file is read three times: copied and hashed, judged in the quarantine, and
// hashed by sha256sum for comparison. DIR needs room for one copy.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/store"
)

func main() {
	gib := flag.Int64("gib", 10, "size of the model in `GiB`")
	dir := flag.String("dir", "", "where the model and the store are made (default: the system's temporary folder)")
	flag.Parse()
	if err := run(*gib<<30, *dir); err != nil {
		log.Fatal(err)
	}
}

func run(size int64, dir string) (err error) {
	if dir, err = os.MkdirTemp(dir, "weighbridge-intake-*"); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	model := filepath.Join(dir, "model")
	if err := os.Mkdir(model, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(model, "model.safetensors"))
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}

	start := time.Now()
	if err := exec.Command("sha256sum", f.Name()).Run(); err != nil {
		return fmt.Errorf("sha256sum: %w", err)
	}
	reference := time.Since(start)

	s, err := store.Create(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	defer s.Close()
	start = time.Now()
	out, err := intake.Ingest(context.Background(), intake.Config{
		Store: s, Source: intake.Folder{Path: model},
		Check: func(ctx context.Context, dir string) (*intake.Assessment, error) {
			m, err := manifest.Dir(ctx, dir, manifest.Options{})
			return &intake.Assessment{Manifest: m}, err
		},
	})
	if err != nil {
		return err
	}
	took := time.Since(start)
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return err
	}
	fmt.Printf("intake of %d GiB, admitted %v: %v, sha256sum once over the same file %v: ratio %.2f; largest memory %d MiB (aim: at most 100)\n",
		size>>30, out.Admitted, took.Round(time.Millisecond), reference.Round(time.Millisecond), took.Seconds()/reference.Seconds(), use.Maxrss>>10)
	if use.Maxrss>>10 > 100 {
		return fmt.Errorf("the memory is above the aim")
	}
	return nil
}
