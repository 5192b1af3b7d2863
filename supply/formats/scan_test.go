package formats

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

const evil = "cposix\nsystem\n(S'id'\ntR."

func safetensors(header string, data int) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + strings.Repeat("\x00", data)
}

const twoTensors = `{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}`

func ggufFile(t testing.TB, meta ...gguf.KV) string {
	t.Helper()
	var b bytes.Buffer
	meta = append([]gguf.KV{{Key: "general.architecture", Value: gguf.V("llama")}}, meta...)
	if err := gguf.Write(&b, meta, []gguf.Source{{Name: "t", Shape: []uint64{32}, Data: func(w io.Writer) error { _, err := w.Write(make([]byte, 128)); return err }}}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// zipped makes an archive of name, content pairs.
func zipped(t testing.TB, method uint16, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: pairs[i], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tarred(t testing.TB, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: pairs[i], Size: int64(len(pairs[i+1])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func npy(descr, data string) string {
	h := fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': (1,), }\n", descr)
	return "\x93NUMPY\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, uint16(len(h)))) + h + data
}

// proto encodes fields of wire type 2 (string) and 0 (int).
func proto(fields ...any) string {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		n := uint64(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = binary.AppendUvarint(binary.AppendUvarint(b, n<<3), uint64(v))
		case string:
			b = binary.AppendUvarint(binary.AppendUvarint(b, n<<3|2), uint64(len(v)))
			b = append(b, v...)
		}
	}
	return string(b)
}

func onnxFile(location, domain string) string {
	tensor := proto(8, "w", 13, proto(1, "location", 2, location))
	return proto(1, 8, 2, "test\x00", 8, proto(1, domain, 2, 13), 7, proto(2, "graph", 5, tensor))
}

type expect struct {
	name, content, format, rule, detail string
}

func cases(t testing.TB) []expect {
	gg := ggufFile(t)
	elf := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 57)
	pe := "MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00PE\x00\x00"
	hdf := "\x89HDF\r\n\x1a\n\x00\x00"
	return []expect{
		// What is fine.
		{"model.gguf", gg, "gguf", "", "1 tensors"},
		{"model.safetensors", safetensors(twoTensors, 16), "safetensors", "", "2 tensors"},
		{"empty.safetensors", safetensors("{}      ", 0), "safetensors", "", "0 tensors"},
		{"model.onnx", onnxFile("weights.bin", ""), "onnx", "", "IR version 8"},
		{"custom.onnx", onnxFile("sub/weights.bin", "com.example"), "onnx", "", "com.example"},
		{"config.json", `{"model_type": "llama", "auto_mapping": null}`, "json", "", ""},
		{"trusting.json", `{"trust_remote_code": false, "\u0041": 1}`, "json", "", ""},
		{"README.md", "# A model\nimport os\n", "text", "", ""},
		{"words.txt", "class words\nin\nthe\nclass c\na.\n(b\n", "text", "", ""},
		{"LICENSE", "é" + strings.Repeat("x", headBytes-1) + "é", "text", "", ""},
		{"chat_template.jinja", "{{ bos_token }}", "text", "", ""},
		{"params.yaml", "a: 1\nb: [c, 'not !apply']\n", "yaml", "", ""},
		{"tokenizer.model", proto(1, proto(1, "<unk>\x00"), 1, proto(1, "a\x00")), "sentencepiece", "", "2 pieces"},
		{"a.npy", npy("'<f4'", "\x00\x00\x00\x00"), "npy", "", ""},
		{"a.npz", zipped(t, zip.Store, "a.npy", npy("'<f4'", "\x00\x00\x00\x00")), "npz", "", "1 NumPy"},
		{"logo.png", "\x89PNG\r\n\x1a\n\x00", "image", "", ""},
		{"empty.txt", "", "empty", "", ""},
		// What runs code.
		{"model.pkl", evil, "pickle", RuleExecutable, "posix.system"},
		{"pytorch_model.bin", "\x80\x02cposix\nsystem\n(U\x02idtR.", "pickle", RuleExecutable, "posix.system"},
		{"weights.dat", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", "pickle", RuleExecutable, "posix.system"},
		{"notes.txt", evil, "pickle", RuleExecutable, "posix.system"},
		{"config.json", evil, "pickle", RuleExecutable, "posix.system"},
		{"plain.pickle", "\x80\x04K\x01.", "pickle", RuleExecutable, "imports nothing"},
		{"cut.pt", "\x80\x02cposix\nsystem\n(", "pickle", RuleExecutable, "not listed to its end"},
		{"cut.bin", "\x80\x02\x00\x01\x02", "pickle", RuleExecutable, "not listed to its end"},
		{"noise.pth", "\x00\x01\x02\x03", "pickle", RuleExecutable, "not recognised"},
		{"legacy.pt", "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.\x00\x01", "pickle", RuleExecutable, "torch._utils._rebuild_tensor_v2"},
		{"model.joblib", "\x1f\x8b\x08\x00", "pickle", RuleExecutable, "compressed pickle"},
		{"model.pt", zipped(t, zip.Store, "archive/data.pkl", "\x80\x02"+evil, "archive/data/0", "\x00\x01"), "pytorch", RuleExecutable, "posix.system"},
		{"model.bin", zipped(t, zip.Deflate, "m/data.pkl", "\x80\x02N.", "m/version", "3\n"), "pytorch", RuleExecutable, "PyTorch"},
		{"script.pt", zipped(t, zip.Store, "m/code/__torch__.py", "def f(): pass", "m/constants.pkl", "\x80\x02)."), "torchscript", RuleExecutable, "TorchScript"},
		{"model.keras", zipped(t, zip.Store, "config.json", `{"class_name":"Functional","config":{"layers":[{"class_name":"Lambda","module":"keras.layers"}]}}`, "model.weights.h5", hdf), "keras", RuleExecutable, "Keras"},
		{"old.tar.bin", tarred(t, "sys_info", "x", "pickle", evil), "tar", RuleExecutable, "pickle"},
		{"model.nemo", tarred(t, "model_config.yaml", "a: 1"), "tar", RuleExecutable, ""},
		{"model.h5", hdf, "hdf5", RuleExecutable, "Lambda"},
		{"model.txt", hdf, "hdf5", RuleExecutable, "Lambda"},
		{"objects.npy", npy("'|O'", "\x80\x04"+evil), "npy", RuleExecutable, "posix.system"},
		{"fields.npy", npy("[('a', '<f4'), ('b', 'O')]", evil), "npy", RuleExecutable, "posix.system"},
		{"objects.npz", zipped(t, zip.Deflate, "a.npy", npy("'|O'", evil)), "zip", RuleExecutable, "posix.system"},
		{"hidden.zip", zipped(t, zip.Deflate, "readme.txt", "x", "lib/x.so.1", "x"), "zip", RuleExecutable, "shared object"},
		{"libx.so.1", "text", "program", RuleExecutable, "shared object"},
		{"model", elf, "program", RuleExecutable, "ELF"},
		{"data.bin", elf, "program", RuleExecutable, "ELF"},
		{"a.dat", pe, "program", RuleExecutable, "PE"},
		{"b.dat", "\xcf\xfa\xed\xfe\x07", "program", RuleExecutable, "Mach-O"},
		{"modeling_x.py", "import os", "program", RuleExecutable, "Python"},
		{"run", "#!/bin/sh\n", "program", RuleExecutable, "#!"},
		{"setup.sh", "echo", "program", RuleExecutable, "shell"},
		{"x.pyc", "\xa7\x0d\x0d\x0a\x00", "program", RuleExecutable, "compiled Python"},
		{"tf/saved_model.pb", "\x08\x01", "program", RuleExecutable, "SavedModel"},
		{"config.json", `{"auto_map": {"AutoModel": "modeling_x.X"}}`, "json", RuleCustomCode, "modeling_x.X"},
		{"deep.json", `{"a": [{"auto_map": {"AutoModel": "other/repo--m.X"}}]}`, "json", RuleCustomCode, "other/repo--m.X"},
		{"escaped.json", `{"\u0061uto_map": {"AutoModel": "m.X"}}`, "json", RuleCustomCode, "m.X"},
		{"twice.json", `{"auto_map": {"AutoModel": "m.X"}, "auto_map": null}`, "json", RuleCustomCode, "m.X"},
		{"trust.json", `{"trust_remote_code": true}`, "json", RuleCustomCode, "trust_remote_code"},
		{"hyper.yaml", "a: 1\nb: !apply:os.system [id]\n", "yaml", RuleCustomCode, "!apply:os.system"},
		{"p.yml", "a: !!python/object/apply:os.system [id]\n", "yaml", RuleCustomCode, "python/object"},
		// Two formats at once.
		{"model.gguf", gg + zipped(t, zip.Store, "a/data.pkl", evil), "gguf", RulePolyglot, "ZIP"},
		{"model.safetensors", safetensors(twoTensors, 16) + zipped(t, zip.Store, "a/data.pkl", evil), "safetensors", RulePolyglot, "ZIP"},
		{"logo.png", "\x89PNG\r\n\x1a\n" + zipped(t, zip.Store, "a", "b"), "image", RulePolyglot, "ZIP"},
		{"notes.md", "hello\n" + zipped(t, zip.Store, "a", "b"), "unknown", RulePolyglot, "ZIP"},
		{"model.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[4096],"data_offsets":[0,4096]}}`+strings.Repeat(" ", 512-8-59), 0) + hdf + strings.Repeat("\x00", 4096-len(hdf)), "safetensors", RulePolyglot, "HDF5"},
		// What is not what it says it is.
		{"model.gguf", "GGUF\x03\x00\x00\x00", "gguf", RuleMalformed, ""},
		{"model.gguf", gg + strings.Repeat("\x00", 4096), "gguf", RuleUnclaimed, "4096 bytes"},
		{"model.gguf", safetensors(twoTensors, 16), "safetensors", RuleMismatch, "gguf"},
		{"model.safetensors", gg, "gguf", RuleMismatch, "safetensors"},
		{"model.safetensors", "hello, this is text", "unknown", RuleMalformed, ""},
		{"model.safetensors", safetensors(twoTensors, 15), "safetensors", RuleMalformed, "claims bytes"},
		{"model.safetensors", safetensors(twoTensors, 17), "safetensors", RuleMalformed, "behind the last"},
		{"model.safetensors", safetensors(strings.Replace(twoTensors, "[8,16]", "[4,12]", 1), 16), "safetensors", RuleMalformed, "inside the one before"},
		{"model.safetensors", safetensors(strings.Replace(twoTensors, "[2,2]", "[2,3]", 1), 16), "safetensors", RuleMalformed, "does not fill"},
		{"model.safetensors", safetensors(strings.Replace(twoTensors, "[2,2]", "[4611686018427387904,4]", 1), 16), "safetensors", RuleMalformed, "does not fill"},
		{"model.safetensors", safetensors(strings.Replace(twoTensors, `"b"`, `"a"`, 1), 16), "safetensors", RuleMalformed, "given twice"},
		{"model.safetensors", safetensors(strings.Replace(twoTensors, `"F32"`, `"X9"`, 1), 16), "safetensors", RuleMalformed, "unknown type"},
		{"model.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, 1), "safetensors", RuleMalformed, "data_offsets"},
		{"model.safetensors", "\xff\xff\xff\x00\x00\x00\x00\x00{\"a\"", "safetensors", RuleMalformed, "claims 16777215"},
		{"model.onnx", onnxFile("../../etc/passwd", ""), "onnx", RuleOutside, "passwd"},
		{"model.onnx", onnxFile("/etc/passwd", ""), "onnx", RuleOutside, "passwd"},
		{"model.onnx", "\x08\x08\x3a\xff\x7f", "onnx", RuleMalformed, ""},
		{"model.onnx", "text", "onnx", RuleMalformed, ""},
		{"tokenizer.json", `{"a": `, "json", RuleMalformed, ""},
		{"model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git-lfs", RulePlaceholder, "git lfs pull"},
		{"weights.bin", "\x00\x01\x02\x03", "unknown", RuleUnknown, ""},
		{"extra.gz", "\x1f\x8b\x08\x00", "gzip", RuleArchive, "unpack"},
		{"extra.zip", zipped(t, zip.Deflate, "readme.txt", "x"), "zip", RuleArchive, "unpack"},
		{"extra.tar", tarred(t, "readme.txt", "x"), "tar", RuleArchive, "unpack"},
		{"bomb.npz", zipped(t, zip.Deflate, "a.npy", npy("'<f4'", strings.Repeat("\x00", 80<<20))), "zip", RuleBomb, "claims"},
	}
}

// TestNegativeMatrix shows what each file comes to, the good ones too.
func TestNegativeMatrix(t *testing.T) {
	for i, tc := range cases(t) {
		t.Run(fmt.Sprintf("%02d %s %s", i, tc.name, tc.rule), func(t *testing.T) {
			f, err := Inspect(tc.name, strings.NewReader(tc.content), int64(len(tc.content)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Rule != tc.rule || !strings.Contains(f.Detail, tc.detail) || tc.format != "unknown" && f.Format != tc.format || f.Name != tc.name {
				t.Errorf("got %+v, want %s, rule %q, %q", f, tc.format, tc.rule, tc.detail)
			}
			if f.Executable != (f.Rule == RuleExecutable || f.Rule == RuleCustomCode) && f.Rule != RulePolyglot {
				t.Errorf("executable %v with rule %q", f.Executable, f.Rule)
			}
			if tc.rule != "" {
				_, state := Problems([]File{f})
				t.Logf("%-28s %-44s -> %s", "formats", tc.name+": "+f.Format, f.Rule+" ("+string(state)+")")
			}
		})
	}
}

// A header of safetensors can be made so that an unpickler runs it: its length
// is PROTO 2 and BINUNICODE, which skips to what the header goes on with.
func TestSafetensorsThatIsAPickle(t *testing.T) {
	const n = 0x05580280 // 80 02 58 05 00 00 00 00, little endian
	header := "{\"aa" + "0cos\nsystem\n(S'id'\ntR."
	content := string(binary.LittleEndian.AppendUint64(nil, n)) + header
	content += strings.Repeat(" ", n-len(header))
	f, err := Inspect("model.safetensors", strings.NewReader(content), int64(len(content)))
	if err != nil || f.Rule != RulePolyglot || !f.Executable || !slices.ContainsFunc(f.Opcodes, func(o string) bool { return strings.Contains(o, "REDUCE os.system") }) {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestOpcodesAreListed(t *testing.T) {
	content := zipped(t, zip.Store, "archive/data.pkl", "\x80\x02"+evil)
	f, err := Inspect("m.pt", strings.NewReader(content), int64(len(content)))
	if want := []string{"archive/data.pkl: GLOBAL posix.system @2", "archive/data.pkl: REDUCE posix.system @24"}; err != nil || !slices.Equal(f.Opcodes, want) {
		t.Errorf("%q, %v", f.Opcodes, err)
	}
}

// What Python's own libraries write is refused, or let through, as it has to be.
func TestPythonWrites(t *testing.T) {
	python := testreq.File(t, filepath.FromSlash("../../build/venv/bin/python"), "make peers")
	dir := t.TempDir()
	program := `
import numpy as np, pickle, sys, os
os.chdir(sys.argv[1])
np.save("floats.npy", np.zeros((3, 4), np.float32))
np.save("fields.npy", np.zeros(3, [("a", "f4"), ("b", "U8")]))
np.save("objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
np.savez("floats.npz", a=np.zeros(3), b=np.ones(2))
np.savez_compressed("packed.npz", a=np.zeros(3))
np.savez("objects.npz", a=np.zeros(3), b=np.array([os.system], dtype=object))
pickle.dump({"w": np.zeros(3)}, open("state.pkl", "wb"))
`
	if out, err := exec.Command(python, "-c", program, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := Scan(t.Context(), dir, m)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"floats.npy": "", "fields.npy": "", "objects.npy": RuleExecutable, "floats.npz": "", "packed.npz": "", "objects.npz": RuleExecutable, "state.pkl": RuleExecutable}
	if len(files) != len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
	for _, f := range files {
		if f.Rule != want[f.Name] {
			t.Errorf("%s: %+v", f.Name, f)
		}
	}
	problems, state := Problems(files)
	if state != record.Bad || len(problems) != 3 {
		t.Errorf("%s, %v", state, problems)
	}
}

func TestScanFaults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, dir, m); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.WriteFile(path, []byte("other text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Scan(t.Context(), dir, m); !errors.Is(err, manifest.ErrFolder) {
		t.Errorf("changed after it was hashed: %v", err)
	}
	if _, err := Inspect("m.zip", faulty{}, 1<<20); !errors.Is(err, errFaulty) {
		t.Errorf("a disk that fails: %v", err)
	}
}

var errFaulty = errors.New("input/output error")

// faulty is a disk that fails behind the first bytes.
type faulty struct{}

func (faulty) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errFaulty
	}
	return copy(p, "PK\x03\x04"+strings.Repeat("x", headBytes)), nil
}

func TestWeights(t *testing.T) {
	for name, want := range map[string]bool{
		"a/model.safetensors": true, "m.GGUF": true, "x.py": true, "pytorch_model.bin": true, "lib.so.1": true, "m.pt": true,
		"README.md": false, "config.json": false, "logo.png": false, "LICENSE": false,
	} {
		if Weights(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func FuzzInspect(f *testing.F) {
	names := []string{"a", "m.safetensors", "m.gguf", "m.onnx", "m.pt", "m.bin", "c.json", "p.yaml", "t.model", "a.npy", "a.npz", "a.txt"}
	for _, c := range cases(f) {
		if len(c.content) < 8192 {
			f.Add(byte(0), []byte(c.content))
			f.Add(byte(len(c.name)), []byte(c.content))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, src []byte) {
		name := names[int(which)%len(names)]
		a, err := Inspect(name, bytes.NewReader(src), int64(len(src)))
		if err != nil || a.Format == "" || a.Rule != "" && States[a.Rule] == "" {
			t.Fatalf("%+v, %v", a, err)
		}
		b, _ := Inspect(name, bytes.NewReader(src), int64(len(src)))
		if a.Rule != b.Rule || a.Detail != b.Detail || !slices.Equal(a.Opcodes, b.Opcodes) {
			t.Fatalf("two answers: %+v and %+v", a, b)
		}
	})
}
