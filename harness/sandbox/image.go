package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/ociarchive"
)

// imageCache remembers which image each guest became, so that a guest is read
// and hashed once.
type imageCache struct {
	mu    sync.Mutex
	known map[imageKey]client.Image
}

type imageKey struct {
	path   string
	size   int64
	mtime  time.Time
	mounts string
}

// image returns the unpacked image for a guest and its mount points.
func (h *Host) image(ctx context.Context, s Spec) (client.Image, error) {
	st, err := os.Stat(s.Guest)
	if err != nil {
		return nil, fmt.Errorf("%w: the guest program: %w", ErrBadSpec, err)
	}
	mounts := make([]string, len(s.Files))
	for i, f := range s.Files {
		mounts[i] = f.Box
	}
	key := imageKey{s.Guest, st.Size(), st.ModTime(), strings.Join(mounts, "\n")}

	h.images.mu.Lock()
	defer h.images.mu.Unlock()
	if img, ok := h.images.known[key]; ok {
		return img, nil
	}
	program, err := os.ReadFile(s.Guest)
	if err != nil {
		return nil, fmt.Errorf("%w: the guest program: %w", ErrBadSpec, err)
	}
	if !bytes.HasPrefix(program, []byte("\x7fELF")) {
		return nil, fmt.Errorf("%w: the guest %s is not an ELF executable", ErrBadSpec, s.Guest)
	}
	packed, err := ociarchive.Pack(program, runtime.GOARCH, mounts)
	if err != nil {
		return nil, err
	}
	img, err := h.importImage(ctx, packed)
	if err != nil {
		return nil, err
	}
	if h.images.known == nil {
		h.images.known = map[imageKey]client.Image{}
	}
	h.images.known[key] = img
	return img, nil
}

func (h *Host) importImage(ctx context.Context, packed ociarchive.Image) (client.Image, error) {
	img, err := h.client.GetImage(ctx, packed.Name)
	if errdefs.IsNotFound(err) {
		recs, ierr := h.client.Import(ctx, bytes.NewReader(packed.Archive))
		if ierr != nil {
			return nil, fmt.Errorf("importing the guest's image: %w", ierr)
		}
		if len(recs) != 1 || recs[0].Target.Digest != packed.Digest {
			return nil, fmt.Errorf("importing the guest's image: containerd made %d images of it, want 1 with the digest %s", len(recs), packed.Digest)
		}
		img, err = client.NewImage(h.client, recs[0]), nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the guest's image: %w", err)
	}
	if err := img.Unpack(ctx, h.snap); err != nil && !errors.Is(err, errdefs.ErrAlreadyExists) {
		return nil, fmt.Errorf("unpacking the guest's image: %w", err)
	}
	return img, nil
}
