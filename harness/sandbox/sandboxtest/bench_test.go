package sandboxtest_test

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/harness/sandbox/sandboxtest"
	"github.com/weighbridge/weighbridge/internal/testreq"
)

// BenchmarkStart prints the time from the call of Start to the first answer of
// the guest's own handler, self-test included, and the time to remove the box.
func BenchmarkStart(b *testing.B) {
	testreq.Root(b)
	runsc, _ := filepath.Abs("../../../bin/runsc")
	for _, cfg := range []sandbox.Config{
		{Runtime: sandbox.Runc},
		{Runtime: sandbox.Runsc, RuntimePath: runsc},
	} {
		b.Run(cfg.Runtime, func(b *testing.B) {
			if cfg.RuntimePath == "" {
				_, err := exec.LookPath(cfg.Runtime)
				testreq.Need(b, err == nil, cfg.Runtime)
			} else {
				testreq.File(b, cfg.RuntimePath, "make bin/runsc")
			}
			cfg.StateDir, cfg.Address = b.TempDir(), sandbox.Private
			h, err := sandbox.Open(context.Background(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			spec := sandbox.Spec{Name: "bench", Guest: sandboxtest.Guest(b)}
			var up, down time.Duration
			best := time.Hour // the nearest to a quiet machine
			once := func() {
				t0 := time.Now()
				box, err := h.Start(context.Background(), spec)
				if err != nil {
					b.Fatal(err)
				}
				res, err := box.HTTP().Get("http://box/echo?s=x")
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				took := time.Since(t0)
				up, best = up+took, min(best, took)
				t1 := time.Now()
				if _, err := box.Stop(context.Background()); err != nil {
					b.Fatal(err)
				}
				down += time.Since(t1)
			}
			once() // imports the image
			up, down, best = 0, 0, time.Hour
			for b.Loop() {
				once()
			}
			b.ReportMetric(float64(up.Microseconds())/1e3/float64(b.N), "ms-to-answer")
			b.ReportMetric(float64(best.Microseconds())/1e3, "ms-best")
			b.ReportMetric(float64(down.Microseconds())/1e3/float64(b.N), "ms-to-remove")
		})
	}
}
