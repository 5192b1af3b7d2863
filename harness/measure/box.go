package measure

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/wire"
	"github.com/weighbridge/weighbridge/weights"
)

// Engine is the program that runs inside every box, and the machine it is on.
type Engine struct {
	Path   string // static executable on the host
	Digest string // sha256 of its bytes
	CPU    string // the vector extensions that choose its kernels
}

// OpenEngine identifies the executable at path.
func OpenEngine(path string) (*Engine, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("the engine: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the engine that runs in the box cannot be read (build it with make, or name it with --engine): %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("reading the engine %s: %w", path, err)
	}
	cpu, err := vectorExtensions("/proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	return &Engine{path, hex.EncodeToString(h.Sum(nil)), cpu}, nil
}

// vectorExtensions lists the CPU flags that ggml's kernels look at.
func vectorExtensions(cpuinfo string) (string, error) {
	f, err := os.Open(cpuinfo)
	if err != nil {
		return "", fmt.Errorf("finding the CPU's features: %w", err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		name, flags, _ := strings.Cut(in.Text(), ":")
		if name = strings.TrimSpace(name); name != "flags" && name != "Features" {
			continue
		}
		var keep []string
		for _, x := range strings.Fields(flags) {
			if strings.HasPrefix(x, "avx") || strings.HasPrefix(x, "amx") || strings.HasPrefix(x, "sse") ||
				slices.Contains([]string{"fma", "f16c", "bmi2", "asimd", "asimddp", "i8mm", "sve", "sve2", "bf16"}, x) {
				keep = append(keep, x)
			}
		}
		slices.Sort(keep)
		return strings.Join(slices.Compact(keep), ","), nil
	}
	return "", fmt.Errorf("finding the CPU's features: %s lists none", cpuinfo)
}

// BoxLauncher starts one model in boxes of one host.
type BoxLauncher struct {
	// Host gives the host, opened when the first box is needed.
	Host    func() (*sandbox.Host, error)
	Runtime string
	Engine  *Engine
	Side    string
	Weights *weights.Model
	Threads int           // cores the box may use
	Life    time.Duration // longest life of a box
}

// Key implements Launcher.
func (l *BoxLauncher) Key() string {
	return fmt.Sprintf("engine %s cpu %s runtime %s", l.Engine.Digest, l.Engine.CPU, l.Runtime)
}

// Launch implements Launcher.
func (l *BoxLauncher) Launch(ctx context.Context) (Session, error) {
	if err := l.Weights.Recheck(); err != nil {
		return nil, err
	}
	host, err := l.Host()
	if err != nil {
		return nil, err
	}
	spec, err := l.spec()
	if err != nil {
		return nil, err
	}
	box, err := host.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &boxSession{box: box, model: wire.NewClient(box.HTTP()), proof: record.Box{
		Side:    l.Side,
		Runtime: l.Runtime,
		Image:   "sha256:" + l.Engine.Digest,
		Engine:  l.Key(),
		Checks:  checks(box),
	}}, nil
}

func (l *BoxLauncher) spec() (s sandbox.Spec, err error) {
	const model, adapter = "/weights/model.gguf", "/weights/adapter.gguf"
	a := l.Weights.Artifact()
	for _, path := range []*string{&a.Model, &a.Adapter} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return s, fmt.Errorf("weights of the %s: %w", l.Side, err)
		}
	}
	s = sandbox.Spec{
		Name:  l.Side,
		Guest: l.Engine.Path,
		Args:  []string{"-model", model, "-threads", strconv.Itoa(l.Threads)},
		Files: []sandbox.File{{Host: a.Model, Box: model}},
		Life:  l.Life,
	}
	if a.Adapter != "" {
		s.Args = append(s.Args, "-adapter", adapter+"@"+strconv.FormatFloat(float64(a.Scale), 'g', -1, 32))
		s.Files = append(s.Files, sandbox.File{Host: a.Adapter, Box: adapter})
	}
	var size int64
	for _, f := range l.Weights.Files() {
		size += f.Bytes
	}
	// File pages can be reclaimed; what cannot are the tensors that the engine
	// repacks for its kernels (at most a copy), the cache and compute buffers.
	s.Limits = sandbox.Limits{Memory: 2<<30 + size + size/2, CPUs: float64(l.Threads)}
	return s, nil
}

func checks(b *sandbox.Box) []record.Check {
	var cs []record.Check
	for _, c := range b.Proof.Checks {
		cs = append(cs, record.Check(c))
	}
	return cs
}

type boxSession struct {
	box   *sandbox.Box
	model runners.Model
	proof record.Box
}

func (s *boxSession) Model() runners.Model                         { return s.model }
func (s *boxSession) Proof() record.Box                            { return s.proof }
func (s *boxSession) End(ctx context.Context) (sandbox.End, error) { return s.box.Wait(ctx) }
func (s *boxSession) GiveUp(ctx context.Context, why string) (sandbox.End, error) {
	return s.box.GiveUp(ctx, why)
}

func (s *boxSession) Stop(ctx context.Context) error {
	_, err := s.box.Stop(ctx)
	return err
}
