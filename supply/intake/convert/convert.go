package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/supply/intake/convert/protocol"
	"github.com/weighbridge/weighbridge/supply/store"
	"github.com/weighbridge/weighbridge/weights"
)

// ErrConvert is a model that cannot be converted. The message has the reason;
// text of the converter in it is hostile.
var ErrConvert = errors.New("the model cannot be converted")

// Converter runs the converter program in boxes.
type Converter struct {
	// Host gives the host, opened when the first box is needed.
	Host func() (*sandbox.Host, error)
	Path string // static executable, cmd/converter

	// Memory bounds the box, in bytes; 0 is 2 GiB and twice the model. The
	// largest tensor is in it as float32 and once more in each other form.
	Memory int64
	Life   time.Duration // longest life of a box; 0 is one hour

	digest string
}

// Digest is the SHA-256 of the program.
func (c *Converter) Digest() (string, error) {
	if c.digest != "" {
		return c.digest, nil
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return "", fmt.Errorf("the converter that runs in the box cannot be read (build it with make bin/converter): %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading the converter: %w", err)
	}
	c.digest = hex.EncodeToString(h.Sum(nil))
	return c.digest, nil
}

// Convertible says whether the model is a folder of safetensors with nothing in
// it that is a GGUF file already.
func Convertible(r *store.Record) bool {
	var tensors, config bool
	for _, f := range r.Files {
		switch {
		case strings.HasSuffix(f.Name, ".gguf"):
			return false
		case path.Dir(f.Name) == "." && strings.HasSuffix(f.Name, ".safetensors"):
			tensors = true
		case f.Name == "config.json":
			config = true
		}
	}
	return tensors && config
}

// read are the files besides *.safetensors that convert looks at, some of them
// for certain architectures only.
var read = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
	"added_tokens.json", "special_tokens_map.json", "vocab.json", "merges.txt", "vocab.txt",
	"preprocessor_config.json", "processor_config.json", "params.json",
}

// spec plans the box for a model.
func (c *Converter) spec(e *store.Entry, s *store.Store) (sandbox.Spec, error) {
	guest, err := filepath.Abs(c.Path)
	if err != nil {
		return sandbox.Spec{}, err
	}
	var total int64
	sp := sandbox.Spec{Name: "convert", Guest: guest, Life: c.Life}
	for _, f := range e.Files {
		if path.Dir(f.Name) != "." || !strings.HasSuffix(f.Name, ".safetensors") && !slices.Contains(read, f.Name) {
			continue
		}
		total += f.Bytes
		sp.Files = append(sp.Files, sandbox.File{Host: s.BlobPath(f.SHA256), Box: path.Join(protocol.Folder, f.Name)})
	}
	memory := c.Memory
	if memory == 0 {
		memory = 2<<30 + 2*total
	}
	// The heap stops to grow lazily at half of it; the rest is for the tensor
	// that is being written, which lies in /tmp.
	sp.Args = []string{"-memory", strconv.FormatInt(memory/2, 10)}
	sp.Limits = sandbox.Limits{Memory: memory, Tmp: memory / 2, CPUs: 1}
	return sp, nil
}

// run converts the model in a box and gives the bytes of the file as they come.
func (c *Converter) run(ctx context.Context, e *store.Entry, s *store.Store) (io.ReadCloser, error) {
	spec, err := c.spec(e, s)
	if err != nil {
		return nil, err
	}
	host, err := c.Host()
	if err != nil {
		return nil, err
	}
	box, err := host.Start(ctx, spec)
	if errors.Is(err, sandbox.ErrBadSpec) {
		return nil, fmt.Errorf("%w: %w", ErrConvert, err) // a file's name, or the size
	}
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://box"+protocol.Path, nil)
	if err != nil {
		return nil, errors.Join(err, stop(box))
	}
	res, err := box.HTTP().Do(req)
	if err != nil {
		return nil, errors.Join(ended(ctx, box, err), stop(box))
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, errors.Join(fmt.Errorf("%w: the converter answers %d", ErrConvert, res.StatusCode), stop(box))
	}
	return &body{ctx: ctx, res: res, box: box}, nil
}

// body is the file as it comes out of the box. Its end is checked: only a file
// that the converter calls done ends with io.EOF.
type body struct {
	ctx context.Context
	res *http.Response
	box *sandbox.Box
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.res.Body.Read(p)
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		return n, ended(b.ctx, b.box, err)
	}
	switch status := b.res.Trailer.Get(protocol.Status); {
	case status == protocol.Done:
		return n, io.EOF
	case status == "":
		return n, fmt.Errorf("%w: the converter did not say how it ended", ErrConvert)
	default:
		return n, fmt.Errorf("%w: %s", ErrConvert, strconv.QuoteToGraphic(status[:min(len(status), protocol.MaxStatus)]))
	}
}

// Close ends the box first: closing the body of a guest that sends without end
// would wait for it.
func (b *body) Close() error {
	err := stop(b.box)
	b.res.Body.Close() // its wire is gone
	return err
}

// ended turns a broken wire into how the box ended, where it did so by itself.
func ended(ctx context.Context, box *sandbox.Box, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// A guest that dies breaks the wire a moment before its end is known.
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	end, werr := box.Wait(wait)
	switch {
	case werr != nil:
		return fmt.Errorf("talking to the converter: %w", err)
	case end.Kind == sandbox.Lost || end.Kind == sandbox.Stopped:
		return fmt.Errorf("the converter's box: %s", end)
	}
	return fmt.Errorf("%w: the converter %s; its log ends with %s", ErrConvert, end, strconv.QuoteToGraphic(lastLine(box.Stderr())))
}

func stop(box *sandbox.Box) error {
	// Past this the box is removed by the next host.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := box.Stop(ctx)
	return err
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return s[:min(len(s), 300)]
}

// Name is what the file that a conversion makes is called.
const Name = weights.ModelPath
