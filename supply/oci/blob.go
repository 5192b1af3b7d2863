package oci

import (
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// progress is how many bytes a try has to bring to count as none lost: else a
// registry that sends a byte per connection would keep us for ever.
const progress = 1 << 20

// blob reads one blob from an offset to its end and no further. When the
// connection fails it goes on where it was; a registry that cannot do that is
// read from the start again and skipped forward. It counts bytes and leaves the
// digest to its reader.
type blob struct {
	ctx    context.Context
	origin origin
	desc   ocispec.Descriptor
	limits Limits

	body   io.ReadCloser
	at     int64 // bytes of the blob that were read
	since  int64 // at, when the last try began
	failed int   // tries without progress
}

// openBlob gives a reader, which has asked the origin for nothing so far.
func openBlob(ctx context.Context, o origin, d ocispec.Descriptor, offset int64, l Limits) *blob {
	return &blob{ctx: ctx, origin: o, desc: d, limits: l, at: offset, since: offset}
}

func (b *blob) Read(p []byte) (int, error) {
	for {
		n, err := b.read(p)
		if n > 0 || err == nil || err == io.EOF {
			return n, err
		}
		b.Close()
		if b.ctx.Err() != nil {
			return 0, context.Cause(b.ctx)
		}
		if b.failed++; b.at-b.since >= progress {
			b.failed = 1
		}
		b.since = b.at
		if !passing(err) {
			return 0, err
		}
		if b.failed >= b.limits.Tries {
			return 0, fmt.Errorf("%w (tried %d times)", err, b.failed)
		}
		if err := pause(b.ctx, b.limits.Backoff<<(b.failed-1)); err != nil {
			return 0, err
		}
	}
}

// read is one Read of one try.
func (b *blob) read(p []byte) (int, error) {
	if b.body == nil {
		if err := b.connect(); err != nil {
			return 0, err
		}
	}
	left := b.desc.Size - b.at
	if left == 0 {
		var one [1]byte
		if n, _ := io.ReadFull(b.body, one[:]); n > 0 {
			return 0, fmt.Errorf("%w: %s goes on after its %d bytes", ErrSize, b.desc.Digest, b.desc.Size)
		}
		return 0, io.EOF
	}
	n, err := b.body.Read(p[:min(int64(len(p)), left)])
	b.at += int64(n)
	if n > 0 {
		return n, nil // what err says, the next Read says again
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: %s: %d of %d bytes", ErrTruncated, b.desc.Digest, b.at, b.desc.Size)
	}
	if err != nil {
		err = fmt.Errorf("reading %s: %w", b.desc.Digest, short(err))
	}
	return 0, err
}

func (b *blob) connect() (err error) {
	if b.at == b.desc.Size && b.at > 0 { // a range of no bytes cannot be asked for
		b.body = io.NopCloser(eof{})
		return nil
	}
	b.body, err = b.origin.open(b.ctx, b.desc, b.at)
	if !errors.Is(err, errNotRanged) {
		return err
	}
	if b.body, err = b.origin.open(b.ctx, b.desc, 0); err != nil {
		return err
	}
	if _, err = io.CopyN(io.Discard, b.body, b.at); err != nil {
		return fmt.Errorf("reading %s again: %w", b.desc.Digest, short(err))
	}
	return nil
}

func (b *blob) Close() error {
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
