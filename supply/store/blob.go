package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

const chunk = 1 << 20

// HasBlob says whether the store holds the content with this SHA-256 (64 hex
// digits).
func (s *Store) HasBlob(digest string) (bool, error) {
	if !digestOK(digest) {
		return false, fmt.Errorf("%q is no SHA-256 in hex", digest)
	}
	st, err := s.root.Lstat(blobName(digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !st.Mode().IsRegular():
		return false, fmt.Errorf("%w: blob %s is a %s", ErrCorrupt, digest, st.Mode().Type())
	}
	return true, nil
}

// OpenBlob opens a blob and gives its size. fs.ErrNotExist when there is none.
func (s *Store) OpenBlob(digest string) (*os.File, int64, error) {
	if !digestOK(digest) {
		return nil, 0, fmt.Errorf("%q is no SHA-256 in hex", digest)
	}
	f, st, err := s.open(blobName(digest))
	if err != nil {
		return nil, 0, fmt.Errorf("blob %s: %w", digest, err)
	}
	return f, st.Size(), nil
}

// BlobPath is where the blob lies on disk, for what needs a path (a mount).
func (s *Store) BlobPath(digest string) string { return path.Join(s.dir, blobName(digest)) }

// Put stores what r gives, at most limit bytes, and says what it was. want is
// the digest it has to have, or "". A blob that no record names lives until the
// garbage collection after its grace. Errors: *Violation with RuleDigest or
// RuleTooLarge; r's own; those of the file system.
func (s *Store) Put(ctx context.Context, r io.Reader, want string, limit int64) (digest string, size int64, err error) {
	tmp := tempName()
	f, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("storing a blob: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), ignoreMissing(s.root.Remove(tmp)))
		}
	}()
	h := sha256.New()
	n, err := stream(ctx, f, h, r, limit)
	if err != nil {
		return "", n, err
	}
	digest = hex.EncodeToString(h.Sum(nil))
	if want != "" && want != digest {
		return "", n, &Violation{RuleDigest, want, "the content has the digest " + digest}
	}
	if err := seal(f); err != nil {
		return "", n, err
	}
	if err := f.Close(); err != nil {
		return "", n, err
	}
	if err := s.place(tmp, digest); err != nil {
		return "", n, err
	}
	return digest, n, s.syncDir(path.Dir(blobName(digest)))
}

// place gives a sealed file below tmp its name as a blob. What lay there before
// is replaced: the new bytes were hashed a moment ago, the old ones long since.
func (s *Store) place(tmp, digest string) error {
	name := blobName(digest)
	if err := s.mkdir(path.Dir(name)); err != nil {
		return fmt.Errorf("storing blob %s: %w", digest, err)
	}
	if err := s.root.Rename(tmp, name); err != nil {
		return fmt.Errorf("storing blob %s: %w", digest, err)
	}
	// rename(2) does nothing where both names are one file.
	return ignoreMissing(s.root.Remove(tmp))
}

// placeLink makes a file of the store a blob too, without moving it.
func (s *Store) placeLink(from, digest string) error {
	tmp := tempName()
	if err := s.root.Link(from, tmp); err != nil {
		return fmt.Errorf("storing blob %s: %w", digest, err)
	}
	// Garbage collection goes by age, and this file's may be that of a long download.
	now := time.Now()
	if err := s.root.Chtimes(tmp, now, now); err != nil {
		return fmt.Errorf("storing blob %s: %w", digest, errors.Join(err, s.root.Remove(tmp)))
	}
	return s.place(tmp, digest)
}

// seal makes what was written last and unwritable.
func seal(f *os.File) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	return f.Sync()
}

// stream copies r to w and h in pieces, at most limit bytes.
func stream(ctx context.Context, w io.Writer, h hash.Hash, r io.Reader, limit int64) (n int64, err error) {
	buf := make([]byte, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, rerr := r.Read(buf)
		if n += int64(k); n > limit {
			return n, &Violation{RuleTooLarge, "content", fmt.Sprintf("more than %d bytes", limit)}
		}
		h.Write(buf[:k])
		if _, err := w.Write(buf[:k]); err != nil {
			return n, err
		}
		if errors.Is(rerr, io.EOF) {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}
