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

// imageLife is how long an image that no box uses is kept for the next run.
const imageLife = 7 * 24 * time.Hour

// pruneImages drops the images of guests that were last imported long ago, so
// that a containerd of long standing does not collect every build.
func (h *Host) pruneImages(ctx context.Context) error {
	containers, err := h.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	used := map[string]bool{}
	for _, c := range containers {
		used[c.Image] = true
	}
	images, err := h.client.ImageService().List(ctx)
	if err != nil {
		return fmt.Errorf("listing images: %w", err)
	}
	for _, img := range images {
		if !strings.HasPrefix(img.Name, ociarchive.NamePrefix) || used[img.Name] || time.Since(img.UpdatedAt) < imageLife {
			continue
		}
		if err := h.client.ImageService().Delete(ctx, img.Name); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("dropping the image %s: %w", img.Name, err)
		}
	}
	return nil
}
