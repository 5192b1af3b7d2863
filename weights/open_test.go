package weights

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestIdentityDefinition computes the identity as the package comment says.
func TestIdentityDefinition(t *testing.T) {
	mb, lb := model(1).bytes(t), lora(1).bytes(t)
	mp, lp := save(t, mb), save(t, lb)
	text := fmt.Sprintf("weighbridge identity v1\nfile %s \"model.gguf\"\n", hexSum(mb))
	if got, want := open(t, Artifact{Model: mp}).Identity(), Identity("sha256:"+hexSum([]byte(text))); got != want {
		t.Errorf("identity = %s, want %s", got, want)
	}
	text += fmt.Sprintf("adapter %s scale 0.1\n", hexSum(lb))
	if got, want := open(t, Artifact{mp, lp, 0.1}).Identity(), Identity("sha256:"+hexSum([]byte(text))); got != want {
		t.Errorf("identity with adapter = %s, want %s", got, want)
	}
	if a, b := open(t, Artifact{mp, lp, 0}).Identity(), open(t, Artifact{mp, lp, 1}).Identity(); a != b {
		t.Error("scale 0 does not mean 1")
	}
}

func TestIdentitySortsFiles(t *testing.T) {
	a, b := FileDigest{Path: "a", SHA256: "1"}, FileDigest{Path: "b\n", SHA256: "2"}
	if identity([]FileDigest{a, b}, nil, 0) != identity([]FileDigest{b, a}, nil, 0) {
		t.Error("the order of files counts")
	}
	if identity([]FileDigest{a, b}, nil, 0) == identity([]FileDigest{a}, nil, 0) {
		t.Error("a second file does not count")
	}
}

// TestIdentityBytes: names and folders do not count, every byte does.
func TestIdentityBytes(t *testing.T) {
	raw := model(1).bytes(t)
	want := open(t, Artifact{Model: save(t, raw)}).Identity()
	other := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(other, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{other, link} {
		if got := open(t, Artifact{Model: path}).Identity(); got != want {
			t.Errorf("identity of %s = %s, want %s", path, got, want)
		}
	}
	seen := map[Identity]int{want: -1}
	opened := 0
	for at := 0; at < len(raw); at += 1 + len(raw)/400 {
		changed := bytes.Clone(raw)
		changed[at] ^= 1
		m, err := Open(context.Background(), Artifact{Model: save(t, changed)})
		if err != nil {
			continue // a byte of the structure
		}
		opened++
		if was, dup := seen[m.Identity()]; dup {
			t.Errorf("byte %d gives the identity of byte %d", at, was)
		}
		seen[m.Identity()] = at
		m.Close()
	}
	if opened < 300 {
		t.Errorf("only %d changed files opened, the test shows little", opened)
	}
}

func TestOpenRefuses(t *testing.T) {
	good, adapter := model(1).file(t), lora(1).file(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	st := filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(st, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(f func(*blob)) string {
		b := lora(1)
		f(b)
		return b.file(t)
	}
	q := "blk.0.attn_q.weight"
	tests := []struct {
		name string
		a    Artifact
		is   error
		want string
	}{
		{"nothing", Artifact{}, ErrArtifact, "no model"},
		{"no such file", Artifact{Model: filepath.Join(dir, "none")}, ErrArtifact, "no such file"},
		{"no such adapter", Artifact{Model: good, Adapter: filepath.Join(dir, "none")}, os.ErrNotExist, "no such file"},
		{"directory", Artifact{Model: dir}, ErrUnsupported, "convert_hf_to_gguf.py"},
		{"safetensors", Artifact{Model: st}, ErrUnsupported, "convert_hf_to_gguf.py"},
		{"fifo", Artifact{Model: fifo}, ErrArtifact, "no regular file"},
		{"not gguf", Artifact{Model: save(t, []byte("#!/bin/sh\nexit 0\nsomething"))}, ErrFormat, "not a GGUF"},
		{"empty", Artifact{Model: save(t, nil)}, ErrFormat, "truncated"},
		{"truncated", Artifact{Model: save(t, model(1).bytes(t)[:50_000])}, ErrFormat, "outside of the file"},
		{"adapter as model", Artifact{Model: adapter}, ErrArtifact, "is an adapter"},
		{"model as adapter", Artifact{Model: good, Adapter: good}, ErrArtifact, "no adapter"},
		{"no architecture", Artifact{Model: model(1).drop("general.architecture").file(t)}, ErrMissing, "general.architecture"},
		{"no tensors", Artifact{Model: (&blob{meta: model(1).meta}).file(t)}, ErrMissing, "tensors"},
		{"one part of a split", Artifact{Model: model(1).set("split.count", gguf.V(uint16(3))).file(t)}, ErrUnsupported, "3 parts"},
		{"scale without adapter", Artifact{Model: good, Scale: 2}, ErrArtifact, "without an adapter"},
		{"scale is NaN", Artifact{good, adapter, float32(math.NaN())}, ErrArtifact, "finite"},
		{"scale is infinite", Artifact{good, adapter, float32(math.Inf(-1))}, ErrArtifact, "finite"},

		{"other kind of adapter", Artifact{Model: good, Adapter: put(func(b *blob) { b.set("adapter.type", gguf.V("control")) })}, ErrUnsupported, "adapter.type"},
		{"activated lora", Artifact{Model: good, Adapter: put(func(b *blob) { b.set("adapter.alora.invocation_tokens", gguf.A([]uint32{1})) })}, ErrUnsupported, "activated"},
		{"alpha is text", Artifact{Model: good, Adapter: put(func(b *blob) { b.set("adapter.lora.alpha", gguf.V("8")) })}, ErrFormat, "alpha"},
		{"alpha is NaN", Artifact{Model: good, Adapter: put(func(b *blob) { b.set("adapter.lora.alpha", gguf.V(float32(math.NaN()))) })}, ErrFormat, "alpha"},
		{"alpha and scale overflow", Artifact{good, put(func(b *blob) { b.set("adapter.lora.alpha", gguf.V(float32(3e38))) }), 1e30}, ErrFormat, "not finite"},
		{"other architecture", Artifact{Model: good, Adapter: put(func(b *blob) { b.set("general.architecture", gguf.V("qwen2")) })}, ErrMismatch, `"qwen2"`},
		{"no pairs", Artifact{Model: good, Adapter: put(func(b *blob) { b.tensors = nil })}, ErrMissing, "LoRA tensors"},
		{"half a pair", Artifact{Model: good, Adapter: put(func(b *blob) { b.dropTensor(q + ".lora_b") })}, ErrMissing, q + ".lora_b"},
		{"other half of a pair", Artifact{Model: good, Adapter: put(func(b *blob) { b.dropTensor(q + ".lora_a") })}, ErrMissing, q + ".lora_a"},
		{"neither half", Artifact{Model: good, Adapter: put(func(b *blob) { b.put("blk.0.x", quant.F32, []uint64{4}, make([]float32, 4)) })}, ErrFormat, "neither"},
		{"ranks differ", Artifact{Model: good, Adapter: put(func(b *blob) {
			b.put(q+".lora_b", quant.F32, []uint64{rank + 1, width}, make([]float32, (rank+1)*width))
		})}, ErrFormat, "no rank"},
		{"three dimensions", Artifact{Model: good, Adapter: put(func(b *blob) {
			b.put(q+".lora_b", quant.F32, []uint64{rank, width, 2}, make([]float32, rank*width*2))
		})}, ErrUnsupported, "3 dimensions"},
		{"type without decoder", Artifact{Model: good, Adapter: put(func(b *blob) {
			b.putRaw(q+".lora_b", quant.Type(24), []uint64{rank, width}, make([]byte, rank*width))
		})}, ErrUnsupported, "I8"},
		{"tensor that the model lacks", Artifact{Model: model(1).dropTensor(q).file(t), Adapter: adapter}, ErrMismatch, "lacks"},
		{"shape that the model lacks", Artifact{Model: model(1).put(q, quant.F16, []uint64{width, 32}, make([]float32, width*32)).file(t), Adapter: adapter}, ErrMismatch, "[64 32]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Open(context.Background(), tt.a)
			if !errors.Is(err, tt.is) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("error = %v\nwant one that is %q with %q", err, tt.is, tt.want)
			}
			if m != nil && err == nil {
				m.Close()
			}
		})
	}
	before := descriptors(t)
	for _, tt := range tests {
		if m, err := Open(context.Background(), tt.a); err == nil {
			m.Close()
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("refused files stay open: %d descriptors, then %d", before, after)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, Artifact{Model: good}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRecheck(t *testing.T) {
	raw := model(1).bytes(t)
	write := func(at int64, b ...byte) func(string) error {
		return func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(b, at)
			return errors.Join(err, f.Close())
		}
	}
	keepTime := func(change func(string) error) func(string) error {
		return func(path string) error {
			fi, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(change(path), os.Chtimes(path, time.Time{}, fi.ModTime()))
		}
	}
	last := int64(len(raw) - 1)
	tests := []struct {
		name    string
		change  func(path string) error
		changed bool
	}{
		{"nothing", func(string) error { return nil }, false},
		{"a byte", write(last, raw[last]^1), true},
		{"a byte, time set back", keepTime(write(last, raw[last]^1)), true},
		{"the same byte, time set back", keepTime(write(last, raw[last])), false},
		{"mode", func(p string) error { return os.Chmod(p, 0o400) }, false},
		{"hard link", func(p string) error { return os.Link(p, p+".2") }, false},
		{"longer", func(p string) error { return os.Truncate(p, last+33) }, true},
		{"shorter, time set back", keepTime(func(p string) error { return os.Truncate(p, last) }), true},
		{"replaced", func(p string) error {
			return errors.Join(os.WriteFile(p+".new", raw, 0o600), os.Rename(p+".new", p))
		}, true},
		{"removed", os.Remove, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := save(t, raw)
			// File systems keep coarse times: let the change fall into another tick.
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
			m := open(t, Artifact{Model: path})
			time.Sleep(20 * time.Millisecond)
			if err := tt.change(path); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second call after a mere new stamp agrees
				if err := m.Recheck(); errors.Is(err, ErrChanged) != tt.changed || (err != nil && !tt.changed) {
					t.Errorf("Recheck = %v, want changed: %v", err, tt.changed)
				}
			}
		})
	}
	t.Run("rows of a file that shrank", func(t *testing.T) {
		path := save(t, raw)
		m := open(t, Artifact{Model: path})
		if err := os.Truncate(path, 20_000); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Vector(context.Background(), OutputNorm); !errors.Is(err, ErrChanged) {
			t.Errorf("Vector = %v, want ErrChanged", err)
		}
	})
	t.Run("adapter", func(t *testing.T) {
		path := lora(1).file(t)
		m := open(t, Artifact{Model: save(t, raw), Adapter: path})
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := m.Recheck(); !errors.Is(err, ErrChanged) {
			t.Errorf("Recheck = %v, want ErrChanged", err)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// TestShrinkWhileHashing: a file that ends before the size it had at first.
func TestShrinkWhileHashing(t *testing.T) {
	h := &hashing{r: readerAt(make([]byte, 3*hashChunk/2)), h: sha256.New()}
	if err := h.rest(context.Background(), "x", 2*hashChunk); !errors.Is(err, ErrChanged) {
		t.Errorf("error = %v, want ErrChanged", err)
	}
	h = &hashing{r: readerAt(make([]byte, 100)), h: sha256.New()}
	if _, err := h.ReadAt(make([]byte, 10), 50); err == nil {
		t.Error("hashing out of order gives no error")
	}
}

func TestConcurrentUse(t *testing.T) {
	m := open(t, Artifact{Model: model(1).file(t), Adapter: lora(1).file(t)})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, name := range order {
				if _, err := m.Vector(context.Background(), name); err != nil {
					t.Error(err)
				}
			}
			if err := m.Recheck(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
