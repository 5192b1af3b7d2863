package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a zstd frame may ask for: what
// `zstd --long` accepts unasked.
const maxWindow = 128 << 20

// unpack hands every file of an archive to add, in the order of the archive.
// The packed bytes must be verified already. Refused are all entries but files
// and folders, names that [safe] refuses, and streams that unpack to more than
// ratio times their size and a MiB. add refuses names that come twice.
func unpack(ctx context.Context, src io.Reader, how packing, size, ratio int64, add func(name string, size int64, r io.Reader) error) error {
	src = &cancellable{ctx, src}
	if how != tarred {
		unzip, end, err := decompress(src, how)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchive, err)
		}
		defer end()
		src = &plausible{r: unzip, left: 1<<20 + size*ratio, packed: size}
	}
	r := tar.NewReader(src)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return archiveError(err)
		}
		name, err := entry(h)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if err := add(name, h.Size, &named{r}); err != nil {
			return err
		}
	}
	// What stands behind the end is part of the digest, but of no file.
	if _, err := io.Copy(io.Discard, src); err != nil {
		return archiveError(err)
	}
	return nil
}

func decompress(src io.Reader, how packing) (io.Reader, func(), error) {
	if how == gzipped {
		r, err := gzip.NewReader(src)
		return r, func() {}, err
	}
	r, err := zstd.NewReader(src, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, nil, err
	}
	return r, r.Close, nil
}

// entry gives the name of a file, or "" for a folder: folders are made for the
// files in them.
func entry(h *tar.Header) (string, error) {
	name := strings.TrimPrefix(h.Name, "./")
	if h.Typeflag == tar.TypeDir {
		if name = strings.TrimSuffix(name, "/"); name == "" || name == "." {
			return "", nil
		}
	}
	if err := safe(name); err != nil {
		return "", fmt.Errorf("%w: %w", ErrArchive, err)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return "", nil
	case tar.TypeReg:
		return name, nil
	}
	return "", fmt.Errorf("%w: entry %.200q is a link, a device or of another type (%q)", ErrArchive, h.Name, h.Typeflag)
}

// archiveError names what the decoders find.
func archiveError(err error) error {
	var disk *fs.PathError
	switch {
	case err == nil, err == io.EOF, errors.Is(err, ErrUnusable), errors.Is(err, context.Canceled), errors.As(err, &disk):
		return err
	}
	return fmt.Errorf("%w: %w", ErrArchive, err)
}

// named names the errors of a file inside an archive.
type named struct{ r io.Reader }

func (n *named) Read(b []byte) (int, error) {
	k, err := n.r.Read(b)
	return k, archiveError(err)
}

// plausible ends a stream that unpacks to more than its share.
type plausible struct {
	r      io.Reader
	left   int64
	packed int64
}

func (p *plausible) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.left -= int64(n); p.left < 0 {
		return 0, fmt.Errorf("%w: %d packed bytes unpack to more than their share", ErrCompression, p.packed)
	}
	return n, err
}

type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
