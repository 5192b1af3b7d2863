package main

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/ollama/ollama/convert"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/intake/convert/converttest"
	"github.com/weighbridge/weighbridge/supply/intake/convert/protocol"
)

func folder(files map[string][]byte) fstest.MapFS {
	m := fstest.MapFS{}
	for name, b := range files {
		m[name] = &fstest.MapFile{Data: b}
	}
	return m
}

// oneAtATime is what main does for convert.
func oneAtATime(t *testing.T) {
	n := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(n) })
}

func ask(t *testing.T, files fs.FS) (body []byte, status string) {
	t.Helper()
	s := httptest.NewServer(handler(files, t.TempDir()))
	defer s.Close()
	res, err := http.Post(s.URL+protocol.Path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return body, res.Trailer.Get(protocol.Status)
}

// TestStreamSendsWhatConvertWrites compares what is sent in pieces with what
// convert leaves in a file.
func TestStreamSendsWhatConvertWrites(t *testing.T) {
	oneAtATime(t)
	src := folder(converttest.Llama(1))
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := convert.ConvertModel(src, f); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	got, status := ask(t, src)
	if status != protocol.Done {
		t.Fatalf("status %q", status)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes are sent that are not the %d of the file", len(got), len(want))
	}
	if again, _ := ask(t, src); !bytes.Equal(got, again) {
		t.Error("the same folder gives other bytes")
	}
}

// pieces notes the sizes that are sent, and how much of the file is on disk.
type pieces struct {
	http.ResponseWriter
	file   *os.File
	sizes  []int64
	onDisk int64
}

func (p *pieces) Write(b []byte) (int, error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(p.file.Fd()), &st); err != nil {
		return 0, err
	}
	p.onDisk = max(p.onDisk, st.Blocks*512)
	p.sizes = append(p.sizes, int64(len(b)))
	return p.ResponseWriter.Write(b)
}

// The file is on disk in parts only.
func TestSentPartsAreFreed(t *testing.T) {
	oneAtATime(t)
	f, err := os.CreateTemp("/dev/shm", "converter-*") // a tmpfs, as /tmp in a box
	testreq.Need(t, err == nil, "a tmpfs at /dev/shm")
	defer os.Remove(f.Name())
	defer f.Close()
	rec := httptest.NewRecorder()
	p := &pieces{ResponseWriter: rec, file: f}
	out := &stream{FS: folder(converttest.Llama(1)), file: f, to: p}
	if err := convert.ConvertModel(out, f); err != nil {
		t.Fatal(err)
	}
	if err := out.send(); err != nil {
		t.Fatal(err)
	}
	if whole := int64(rec.Body.Len()); len(p.sizes) < 10 || p.onDisk > whole/3 {
		t.Errorf("%d parts, at most %d of %d bytes on disk", len(p.sizes), p.onDisk, whole)
	}
}

func TestReasons(t *testing.T) {
	oneAtATime(t)
	change := func(name string, f func([]byte) []byte) fs.FS {
		files := converttest.Llama(1)
		if b := f(files[name]); b == nil {
			delete(files, name)
		} else {
			files[name] = b
		}
		return folder(files)
	}
	shard := "model-00002-of-00002.safetensors"
	for _, c := range []struct {
		name, want string
		files      fs.FS
	}{
		{"no config", "config.json", change("config.json", func([]byte) []byte { return nil })},
		{"unknown architecture", "unsupported architecture", change("config.json", func(b []byte) []byte {
			return bytes.Replace(b, []byte("LlamaForCausalLM"), []byte("EvilForCausalLM"), 1)
		})},
		{"no tokenizer", "tokenizer", change("tokenizer.json", func([]byte) []byte { return nil })},
		{"config that is no JSON", "config.json", change("config.json", func([]byte) []byte { return []byte("{") })},
		{"empty shard", "EOF", change(shard, func([]byte) []byte { return []byte{} })},
		{"negative length", "panicked", change(shard, func(b []byte) []byte { return append(bytes.Repeat([]byte{0xff}, 8), b[8:]...) })},
		{"no offsets", "panicked", change(shard, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"data_offsets"`), []byte(`"data_offsetz"`), 1)
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, status := ask(t, c.files)
			if !strings.Contains(status, c.want) {
				t.Errorf("status %q, want %q in it", status, c.want)
			}
		})
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\nX-Evil: 1":            "a??X-Evil: 1",
		"":                          "failed without a reason",
		protocol.Done:               "failed without a reason",
		strings.Repeat("é", 5000):   strings.Repeat("?", protocol.MaxStatus),
		"line\u2028sep \x1b[31mred": "line?sep ?[31mred",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
