package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/intake/convert/converttest"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/store"
	"github.com/weighbridge/weighbridge/weights"
)

const program = "../../../bin/converter"

// converter starts boxes under runc.
func converter(t *testing.T) *Converter {
	t.Helper()
	testreq.Root(t)
	testreq.File(t, program, "make bin/converter")
	h, err := sandbox.Open(t.Context(), sandbox.Config{})
	if errors.Is(err, sandbox.ErrUnavailable) {
		testreq.Need(t, false, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Converter{Host: func() (*sandbox.Host, error) { return h, nil }, Path: program}
}

func check(ctx context.Context, dir string) (*intake.Assessment, error) {
	m, err := manifest.Dir(ctx, dir, manifest.Options{})
	return &intake.Assessment{Manifest: m}, err
}

// admitted puts a safetensors folder into a new store.
func admitted(t *testing.T, files map[string][]byte) (*store.Store, *store.Entry) {
	t.Helper()
	s, err := store.Create(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := intake.Ingest(t.Context(), intake.Config{Store: s, Source: intake.Folder{Path: dir}, Check: check})
	if err != nil || !out.Admitted {
		t.Fatalf("%+v, %v", out, err)
	}
	return s, out.Entry
}

func convert(t *testing.T, c *Converter, s *store.Store, e *store.Entry) (*intake.Outcome, *Source, error) {
	t.Helper()
	src, err := NewSource(c, s, e)
	if err != nil {
		t.Fatal(err)
	}
	out, err := intake.Ingest(t.Context(), intake.Config{Store: s, Source: src, Check: check, Limits: src.Limits(), Conversion: src.Link()})
	return out, src, err
}

func TestConversion(t *testing.T) {
	c := converter(t)
	s, source := admitted(t, converttest.Llama(1))
	if !Convertible(source.Record) {
		t.Fatal("a safetensors folder is not convertible")
	}
	out, _, err := convert(t, c, s, source)
	if err != nil || !out.Admitted {
		t.Fatalf("%+v, %v", out, err)
	}
	made := out.Entry
	if Convertible(made.Record) {
		t.Error("a GGUF file is convertible")
	}
	dir, err := made.Dir(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	m, err := weights.Open(t.Context(), weights.Artifact{Model: filepath.Join(dir, Name)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if string(m.Identity()) != made.Identity {
		t.Errorf("the file's identity is %s and the record's %s", m.Identity(), made.Identity)
	}

	program, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(program)
	want := &store.Conversion{Root: source.Root, Identity: source.Identity, Converter: hex.EncodeToString(digest[:])}
	if d := cmp.Diff(want, made.Conversion); d != "" {
		t.Errorf("the record's link (-want +got):\n%s", d)
	}
	if list, err := source.Made(); err != nil || len(list) != 1 || list[0].Identity != made.Identity {
		t.Errorf("the source's link: %v, %v", list, err)
	}

	b, err := os.ReadFile(filepath.Join(dir, manifest.ProvenanceFile))
	if err != nil {
		t.Fatal(err)
	}
	var st bundle.Statement
	if err := json.Unmarshal(b, &st); err != nil {
		t.Fatal(err)
	}
	own, err := made.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	// The source is at hand, so the statement's claim about it is compared.
	sourceDir, err := source.Dir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	facts, links, problems, err := provenance.Check(t.Context(), st, own, provenance.Options{
		Lookup: func(_ context.Context, q provenance.Query) (string, bool, error) {
			return sourceDir, q.Digest["sha256"] == source.Root, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if provenance.StateOf(problems) == "bad" || facts.Checked == 0 || facts.Builder != Builder {
		t.Errorf("facts %+v, links %+v, problems %+v", facts, links, problems)
	}

	// The same again makes the same bytes.
	again, _, err := convert(t, c, s, source)
	if err != nil || again.Entry.Identity != made.Identity || again.Entry.Version != made.Version {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// What the converter cannot take, and what breaks it, is an error about the
// model, and nothing is admitted.
func TestNegativeMatrix(t *testing.T) {
	const area = "intake/convert"
	c := converter(t)
	replace := func(name, from, to string) map[string][]byte {
		files := converttest.Llama(1)
		changed := bytes.Replace(files[name], []byte(from), []byte(to), 1)
		if bytes.Equal(changed, files[name]) {
			t.Fatalf("nothing changes in %s: this test shows nothing", name)
		}
		files[name] = changed
		return files
	}
	shard := "model-00001-of-00002.safetensors"
	huge := converttest.Llama(1)
	huge[shard] = append([]byte{0, 0, 0, 0, 0, 1, 0, 0}, huge[shard][8:]...) // a header of 1 TiB
	short := converttest.Llama(1)
	short[shard] = short[shard][:len(short[shard])-100]
	badName := converttest.Llama(1)
	badName["more tensors.safetensors"] = badName[shard]
	for _, x := range []struct {
		name, want string
		files      map[string][]byte
	}{
		{"unknown architecture", "unsupported architecture", replace("config.json", "LlamaForCausalLM", "OtherForCausalLM")},
		{"division by zero in the converter", "crashed", replace("config.json", `"num_attention_heads": 4`, `"num_attention_heads": 0`)},
		{"safetensors header of 1 TiB", "the model cannot be converted", huge},
		{"shard that is cut off", "EOF", short},
		{"file name that no box takes", "must lie directly", badName},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, source := admitted(t, x.files)
			_, _, err := convert(t, c, s, source)
			if !errors.Is(err, ErrConvert) || !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, want %q", err, x.want)
			}
			t.Logf("%-28s %-44s -> %s", area, x.name, "ErrConvert: "+x.want)
			for e, err := range s.Entries() {
				if err != nil || e.Identity != source.Identity {
					t.Errorf("there is %+v, %v", e, err)
				}
			}
		})
	}
}

// A converter that was taken over can send what it likes.
func TestHostileConverter(t *testing.T) {
	good := converter(t)
	for _, x := range []struct{ mode, want string }{
		{"endless", store.RuleTooLarge},
		{"junk", RuleInvalid},
		{"cut", "did not say how it ended"},
		{"status", `\u202e`},
		{"silent", "deadline"},
	} {
		t.Run(x.mode, func(t *testing.T) {
			c := &Converter{Host: good.Host, Path: hostileGuest(t, x.mode)}
			if x.mode == "silent" {
				c.Life = 3 * time.Second
			}
			s, source := admitted(t, converttest.Llama(1))
			src, err := NewSource(c, s, source)
			if err != nil {
				t.Fatal(err)
			}
			out, err := intake.Ingest(t.Context(), intake.Config{Store: s, Source: src, Check: check, Limits: store.Limits{File: 8 << 20, Total: 16 << 20}})
			switch {
			case err != nil:
				if !errors.Is(err, ErrConvert) || !strings.Contains(err.Error(), x.want) {
					t.Errorf("got %v, want %q", err, x.want)
				}
			case out.Admitted || out.Problems[0].Rule != x.want:
				t.Errorf("%+v, want a refusal by %s", out, x.want)
			}
		})
	}
}

func hostileGuest(t *testing.T, mode string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "hostile")
	cmd := exec.Command("go", "build", "-ldflags", "-X main.mode="+mode, "-o", bin, "./converttest/hostile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the hostile guest: %v\n%s", err, out)
	}
	return bin
}
