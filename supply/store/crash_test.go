package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// TestMain is also the process that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_INGEST"); dir != "" {
		if err := ingestLarge(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// large is a model of several files and some megabytes.
func large() []File {
	var files []File
	for i := range 6 {
		content := strings.Repeat(fmt.Sprintf("tensor %d ", i), 80_000*(i+1))
		f := text(fmt.Sprintf("part-%d/model.safetensors", i), content)
		f.SHA256, f.Resumable = sum(content), i%2 == 0
		files = append(files, f)
	}
	return append(files, text("model.sig", "a signature"))
}

func ingestLarge(ctx context.Context, dir string) error {
	s, err := Create(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	in, err := s.Begin(ctx, origin, Limits{})
	if err != nil {
		return err
	}
	defer in.Close()
	for _, f := range large() {
		if _, err := in.Add(ctx, f); err != nil {
			return err
		}
	}
	folder, err := in.Folder()
	if err != nil {
		return err
	}
	m, err := manifest.Dir(ctx, folder, manifest.Options{})
	if err != nil {
		return err
	}
	_, err = in.Admit(ctx, Admission{Manifest: m, Evidence: []record.Evidence{{Kind: record.ModelSignature, State: record.Absent}}})
	return err
}

func ingester(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), "STORE_TEST_INGEST="+dir)
	c.Stderr = os.Stderr
	return c
}

// Killed at any moment, a model is admitted or not, and the same intake again
// ends as if nothing had happened.
func TestKilledAtAnyMoment(t *testing.T) {
	reference := filepath.Join(t.TempDir(), "store")
	start := time.Now()
	if err := ingester(t, reference).Run(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(start)
	want := snapshot(t, reference)
	if len(want) != 1 {
		t.Fatalf("the reference store holds %d records", len(want))
	}

	rng := rand.New(rand.NewPCG(1, 2))
	var killed, admitted int
	for range 40 {
		dir := filepath.Join(t.TempDir(), "store")
		// Some are killed twice on the way.
		for range 1 + rng.IntN(2) {
			c := ingester(t, dir)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.Int64N(int64(whole))))
			c.Process.Kill()
			if c.Wait() != nil {
				killed++
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, markerFile)); err == nil {
			s, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			h := healthy(t, s)
			admitted += h.Models
			for e, err := range s.Entries() {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := e.Dir(t.Context()); err != nil {
					t.Errorf("a model is half admitted: %v", err)
				}
			}
			s.Close()
		}
		if err := ingester(t, dir).Run(); err != nil {
			t.Fatalf("the same intake again: %v", err)
		}
		got := snapshot(t, dir)
		if len(got) != 1 || !bytes.Equal(first(got), first(want)) {
			t.Fatal("the result differs from that of an undisturbed intake")
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Collect(t.Context(), Collection{Now: farFuture}); err != nil {
			t.Fatal(err)
		}
		healthy(t, s)
		s.Close()
		removeAll(dir)
	}
	if killed < 10 {
		t.Errorf("only %d processes were killed before their end: this test shows little", killed)
	}
	t.Logf("%d killed, %d of them past the admission", killed, admitted)
}

// snapshot reads all records.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	got := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, "models/*/*/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if got[n], err = os.ReadFile(n); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func first(m map[string][]byte) []byte {
	for _, b := range m {
		return b
	}
	return nil
}

// Several processes take the same model in at the same time: all succeed, and
// it is stored once.
func TestConcurrentIntake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var wg sync.WaitGroup
	for range 5 {
		c := ingester(t, dir)
		wg.Go(func() {
			if out, err := c.Output(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if got := snapshot(t, dir); len(got) != 1 {
		t.Errorf("%d records", len(got))
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// The files, the signature and one assessment.
	if h := healthy(t, s); h.Blobs != len(large())+1 || h.Models != 1 {
		t.Errorf("%d blobs and %d models", h.Blobs, h.Models)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "quarantine/*/journal.json")); len(left) > 0 {
		t.Errorf("quarantines are left: %v", left)
	}
}

// What was fetched before an interruption is not fetched again where the source
// names digests.
func TestResume(t *testing.T) {
	s := open(t)
	content := strings.Repeat("0123456789", 500_000)
	asked := map[string][]int64{}
	file := func(name, content string, until int64) File {
		return File{Name: name, Size: int64(len(content)), SHA256: sum(content), Resumable: true,
			Open: func(_ context.Context, at int64) (io.ReadCloser, error) {
				asked[name] = append(asked[name], at)
				r := io.Reader(strings.NewReader(content[at:]))
				if until > 0 {
					r = io.MultiReader(strings.NewReader(content[at:until]), broken{})
				}
				return io.NopCloser(r), nil
			}}
	}
	in, err := s.Begin(t.Context(), origin, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Add(t.Context(), file("done", "complete", 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Add(t.Context(), file("half", content, 3_000_000)); !errors.Is(err, errBroken) {
		t.Fatalf("a broken source: %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := s.Begin(t.Context(), origin, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !again.Resumed || again.ID != in.ID {
		t.Errorf("resumed: %v, %s after %s", again.Resumed, again.ID, in.ID)
	}
	for _, f := range []File{file("done", "complete", 0), file("half", content, 0)} {
		if got, err := again.Add(t.Context(), f); err != nil || got.SHA256 != f.SHA256 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(asked["done"]) != 1 {
		t.Errorf("the complete file was asked for at %v", asked["done"])
	}
	if at := asked["half"]; len(at) != 2 || at[1] == 0 {
		t.Errorf("the half file was asked for at %v", at)
	}
	_, err = again.Admit(t.Context(), judge(t, again))
	if err != nil {
		t.Fatal(err)
	}
	// A third intake takes both from the store.
	third, err := s.Begin(t.Context(), Origin{Kind: "oci", Location: "elsewhere"}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	before := len(asked["half"])
	if _, err := third.Add(t.Context(), file("half", content, 0)); err != nil || len(asked["half"]) != before {
		t.Errorf("what the store holds is fetched again: %v, %v", asked["half"], err)
	}
}

var errBroken = errors.New("the wire broke")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }
