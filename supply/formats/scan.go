package formats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/formats/pickle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// The rules of problems with files.
const (
	RuleExecutable  = "format-executable"    // loading it runs code that it holds
	RuleCustomCode  = "format-custom-code"   // it names code that a loader would import
	RuleMalformed   = "format-malformed"     // not what it says it is
	RulePolyglot    = "format-polyglot"      // two formats at once
	RuleBomb        = "format-bomb"          // unpacks to more than its bounds
	RuleMismatch    = "format-mismatch"      // its name says one format, its content another
	RuleOutside     = "format-external-path" // it refers to a file outside the folder
	RulePlaceholder = "format-placeholder"   // a Git LFS pointer instead of the weights
	RuleUnclaimed   = "format-unclaimed"     // bytes that no tensor owns
	RuleArchive     = "format-archive"       // packed; not looked into
	RuleUnknown     = "format-unknown"       // recognised as nothing
)

// States says what state of the evidence each rule leads to.
var States = map[string]record.EvidenceState{
	RuleExecutable: record.Bad, RuleCustomCode: record.Bad, RuleMalformed: record.Bad, RulePolyglot: record.Bad,
	RuleBomb: record.Bad, RuleMismatch: record.Bad, RuleOutside: record.Bad, RulePlaceholder: record.Bad,
	RuleUnclaimed: record.Ambiguous, RuleArchive: record.Ambiguous, RuleUnknown: record.Ambiguous,
}

// File is what one file is. Text in it comes from the file and is hostile.
type File struct {
	Name       string
	Format     string // such as gguf, safetensors, pickle, text, unknown
	Executable bool   // loading it may run code
	// Opcodes are what a pickle would import and call, as by [pickle.Op], or
	// the names of code that a configuration refers to. At most 1,000 a file.
	Opcodes []string
	Rule    string // why it stands against the model, or ""
	Detail  string // one line
}

// Weights reports whether a file of that name is what loaders take for weights
// or for code: what a signer must not hide.
func Weights(name string) bool {
	e := ext(name)
	return pickled[e] || programs[e] != "" || claims[e] != "" && e != ".json" || e == ".bin" || e == ".pb" || e == ".msgpack" || sharedObject.MatchString(base(name))
}

// Scan looks at every file of the manifest, which was read from dir, and gives
// them in the manifest's order. Each file is proven to be the one that was
// hashed when it is opened.
//
// Errors are those of the file system, of a folder that changed
// (manifest.ErrFolder), and ctx's own; a bad file is a File with a Rule.
func Scan(ctx context.Context, dir string, m *manifest.Manifest) ([]File, error) {
	names := fileNames(m)
	out := make([]File, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := m.Open(dir, name)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if out[i], err = Inspect(name, f, info.Size()); err != nil {
				return fmt.Errorf("reading %s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return out, nil
}

// fileNames gives each file once: shards of a file follow each other.
func fileNames(m *manifest.Manifest) (out []string) {
	for _, r := range m.Resources {
		name := r.Name
		if m.Method == manifest.Shards {
			if file, _, _, err := manifest.ParseShard(name); err == nil {
				name = file
			}
		}
		if len(out) == 0 || out[len(out)-1] != name {
			out = append(out, name)
		}
	}
	return out
}

// Problems turns what stands against the model into problems, and gives the
// state that they lead to together.
func Problems(files []File) (out []record.Problem, state record.EvidenceState) {
	state = record.Valid
	for _, f := range files {
		if f.Rule == "" {
			continue
		}
		out = append(out, record.Problem{Rule: f.Rule, Subject: f.Name, Detail: f.Detail})
		if s := States[f.Rule]; state != record.Bad {
			state = cmp.Or(s, record.Bad)
		}
	}
	return out, state
}

// source is a file that is looked at.
type source struct {
	name string
	r    io.ReaderAt
	size int64
	head []byte // the first bytes, up to headBytes
}

const headBytes = 64 << 10

func (s *source) is(format, detail string, args ...any) File {
	return File{Name: s.name, Format: format, Detail: fmt.Sprintf(detail, args...)}
}

func (s *source) bad(rule, format, detail string, args ...any) File {
	f := s.is(format, detail, args...)
	f.Rule, f.Executable = rule, rule == RuleExecutable || rule == RuleCustomCode
	return f
}

// Inspect looks at one file of size bytes. The error is of reading, never of
// content.
func Inspect(name string, r io.ReaderAt, size int64) (File, error) {
	in := &failing{r: r}
	s := &source{name: name, r: in, size: size}
	f, err := s.inspect()
	if in.err != nil { // whatever was concluded from half a file
		err = in.err
	}
	return f, err
}

// failing tells faults of reading from faults of content.
type failing struct {
	r   io.ReaderAt
	err error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 { // an offset of the content's, which a file system would refuse
		return 0, io.ErrUnexpectedEOF
	}
	n, err := f.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

func (s *source) inspect() (File, error) {
	if s.size == 0 {
		return s.is("empty", "no bytes"), nil
	}
	var err error
	if s.head, err = s.read(0, min(s.size, headBytes)); err != nil {
		return File{}, err
	}
	f, err := s.recognise()
	if err != nil || f.Executable {
		return f, err
	}
	// Not executable by itself: is it something else besides?
	other, err := s.polyglot(f.Format)
	if err != nil || other.Rule != "" {
		return other, err
	}
	if want := claims[ext(s.name)]; f.Rule == "" && want != "" && f.Format != want {
		return s.bad(RuleMismatch, f.Format, "its name says %s and its content is %s", want, f.Format), nil
	}
	return f, nil
}

// recognise asks the content first, then the name.
func (s *source) recognise() (File, error) {
	switch {
	case s.starts("GGUF"):
		return s.gguf()
	case s.starts("PK\x03\x04", "PK\x05\x06", "PK\x07\x08"):
		return s.zip()
	case s.starts("\x89HDF\r\n\x1a\n"):
		return s.bad(RuleExecutable, "hdf5", "HDF5: Keras models in it may hold Lambda layers, which are pickled code; convert the weights to safetensors"), nil
	case s.starts("\x93NUMPY"):
		return s.npy()
	case s.looksSafetensors():
		return s.safetensors()
	}
	if what := s.program(); what != "" {
		return s.bad(RuleExecutable, "program", "%s", what), nil
	}
	if f, err := s.pickle(); err != nil || f.Rule != "" {
		return f, err
	}
	if s.isTar() {
		return s.tar()
	}
	if what := programs[ext(s.name)]; what != "" {
		return s.bad(RuleExecutable, "program", "%s", what), nil
	}
	if sharedObject.MatchString(base(s.name)) {
		return s.bad(RuleExecutable, "program", "a shared object by its name"), nil
	}
	for _, m := range magics {
		if len(s.head) >= m.at+len(m.magic) && string(s.head[m.at:m.at+len(m.magic)]) == m.magic {
			if m.rule == RuleArchive && pickled[ext(s.name)] {
				return s.bad(RuleExecutable, "pickle", "by its name a compressed pickle (%s); convert the weights to safetensors", m.format), nil
			}
			if m.rule != "" {
				return s.bad(m.rule, m.format, "%s", m.detail), nil
			}
			return s.is(m.format, "%s", m.detail), nil
		}
	}
	if s.starts("version https://git-lfs.github.com/spec/") {
		return s.bad(RulePlaceholder, "git-lfs", "a Git LFS pointer; the content is not here: fetch it with `git lfs pull`"), nil
	}
	if claims[ext(s.name)] == "safetensors" {
		return s.bad(RuleMalformed, "unknown", "no safetensors header: the first 8 bytes give no length of a JSON object"), nil
	}
	if pickled[ext(s.name)] {
		return s.bad(RuleExecutable, "pickle", "by its name a loader would unpickle it; its content is not recognised"), nil
	}
	if ext(s.name) == ".onnx" {
		return s.onnx()
	}
	if s.isText() {
		return s.text()
	}
	return s.binary()
}

func (s *source) starts(magics ...string) bool {
	for _, m := range magics {
		if strings.HasPrefix(string(s.head[:min(len(s.head), len(m))]), m) {
			return true
		}
	}
	return false
}

// read gives n bytes at off, which lie inside the file.
func (s *source) read(off, n int64) ([]byte, error) {
	b := make([]byte, n)
	got, err := s.r.ReadAt(b, off)
	if int64(got) == n {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// unpickled describes a file that a loader would unpickle.
func (s *source) unpickled(format string, prefix string, l *pickle.Listing, cause error) File {
	f := s.bad(RuleExecutable, format, "%s", describe(l, cause))
	f.Opcodes = operations(prefix, l)
	return f
}

func operations(prefix string, l *pickle.Listing) (out []string) {
	for _, o := range l.Ops {
		out = append(out, prefix+o.String())
	}
	return out
}

func describe(l *pickle.Listing, cause error) string {
	imports := l.Imports()
	text := "a pickle that imports nothing; still, its format runs code"
	if n := len(imports); n > 0 {
		text = "a pickle that imports " + strings.Join(imports[:min(n, 8)], ", ")
		if n > 8 {
			text += fmt.Sprintf(" and %d more", n-8)
		}
	}
	if cause != nil {
		text += fmt.Sprintf(" (not listed to its end: %v)", cause)
	}
	return text + "; convert the weights to safetensors"
}
