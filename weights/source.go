package weights

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

const hashChunk = 1 << 20

// source is one opened, parsed and hashed GGUF file.
type source struct {
	path   string
	f      *os.File
	gguf   *gguf.File
	sha256 [sha256.Size]byte

	mu    sync.Mutex
	stamp stamp
}

const toGGUF = "convert it to GGUF with convert_hf_to_gguf.py (convert_lora_to_gguf.py for an adapter) of llama.cpp"

func openSource(ctx context.Context, path string) (_ *source, err error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrArtifact, err)
	case fi.IsDir():
		return nil, fmt.Errorf("%w: %s is a directory; safetensors directories cannot be read yet: %s", ErrUnsupported, path, toGGUF)
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is no regular file", ErrArtifact, path)
	case strings.HasSuffix(strings.ToLower(path), ".safetensors"):
		return nil, fmt.Errorf("%w: %s is a safetensors file, which cannot be read yet: %s", ErrUnsupported, path, toGGUF)
	}
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArtifact, err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if fi, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file", ErrArtifact, path)
	}
	s := &source{path: path, f: f, stamp: stampOf(fi)}
	h := &hashing{r: f, h: sha256.New()}
	if s.gguf, err = gguf.Read(path, h, fi.Size(), gguf.Limits{}); err != nil {
		return nil, err
	}
	if err := h.rest(ctx, path, fi.Size()); err != nil {
		return nil, err
	}
	h.h.Sum(s.sha256[:0])
	h.h = nil
	return s, s.unchanged()
}

// hashing hashes what is read in order, so that parsing and hashing see the
// same bytes from one reading. It reads only once h is nil.
type hashing struct {
	r    io.ReaderAt
	h    hash.Hash
	next int64
}

func (s *hashing) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	if s.h != nil {
		if off != s.next {
			return 0, fmt.Errorf("read at %d while hashing at %d", off, s.next)
		}
		s.h.Write(p[:n])
		s.next += int64(n)
	}
	return n, err
}

// rest hashes from where parsing stopped to size.
func (s *hashing) rest(ctx context.Context, path string, size int64) error {
	buf := make([]byte, hashChunk)
	for s.next < size {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("hashing %s: %w", path, err)
		}
		n, err := s.ReadAt(buf[:min(int64(len(buf)), size-s.next)], s.next)
		switch {
		case n == 0 && errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %s shrank from %d to %d bytes", ErrChanged, path, size, s.next)
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("hashing %s: %w", path, err)
		}
	}
	return nil
}

// unchanged compares the open file and what its path now leads to with the
// stamp taken at first.
func (s *source) unchanged() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	open, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("checking %s: %w", s.path, err)
	}
	now, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	fd, named := stampOf(open), stampOf(now)
	switch {
	case fd.dev != named.dev || fd.ino != named.ino:
		return fmt.Errorf("%w: %s is another file now", ErrChanged, s.path)
	case fd.size != s.stamp.size:
		return fmt.Errorf("%w: %s had %d bytes and has %d", ErrChanged, s.path, s.stamp.size, fd.size)
	case fd.mtime != s.stamp.mtime:
		return fmt.Errorf("%w: %s was written to", ErrChanged, s.path)
	case fd.ctime == s.stamp.ctime:
		return nil
	}
	// A new link or mode moves ctime, and so does a writer that sets mtime back.
	h := &hashing{r: s.f, h: sha256.New()}
	if err := h.rest(context.Background(), s.path, fd.size); err != nil {
		return err
	}
	if [sha256.Size]byte(h.h.Sum(nil)) != s.sha256 {
		return fmt.Errorf("%w: %s holds other bytes than when it was identified", ErrChanged, s.path)
	}
	s.stamp = fd
	return nil
}
