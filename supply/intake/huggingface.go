package intake

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/supply/store"
)

// HuggingFace is a repository in a Hugging Face cache: a folder
// models--ORG--NAME with snapshots/REVISION, whose files are symlinks into
// blobs/, and refs/, which name revisions. A blob is named by its SHA-256 (large
// files) or by its git hash (small ones), and has to be what it is named.
type HuggingFace struct {
	Dir      string // the repository's folder
	Revision string // a commit, or a name below refs/; "" is main, or the only snapshot
}

// Origin implements Source.
func (h HuggingFace) Origin() store.Origin {
	o := store.Origin{Kind: KindHuggingFace, Location: h.Dir}
	if h.Revision != "" {
		o.Location += "@" + h.Revision
	}
	return o
}

// Fetch implements Source.
func (h HuggingFace) Fetch(ctx context.Context, in *store.Intake) error {
	root, err := os.OpenRoot(h.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	rev, err := h.revision(root)
	if err != nil {
		return err
	}
	top := "snapshots/" + rev
	found := false
	err = fs.WalkDir(root.FS(), top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		name := strings.TrimPrefix(p, top+"/")
		switch {
		case isGit(name) && d.IsDir():
			return fs.SkipDir
		case isGit(name):
			return nil
		case d.IsDir():
			if strings.Count(name, "/") >= maxWalk {
				return &store.Violation{Rule: store.RuleName, Subject: name, Detail: fmt.Sprintf("folders are more than %d deep", maxWalk)}
			}
			return nil
		}
		found = true
		return h.file(ctx, root, p, name, d, in)
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: %s holds no files; the download is not complete", ErrSource, path.Join(h.Dir, top))
	}
	return err
}

// revision finds the snapshot that is meant.
func (h HuggingFace) revision(root *os.Root) (string, error) {
	ref := h.Revision
	if ref == "" {
		ref = "main"
	}
	if err := store.CheckName(ref); err != nil {
		return "", fmt.Errorf("%w: revision %q", ErrSource, ref)
	}
	has := func(rev string) bool {
		st, err := root.Lstat("snapshots/" + rev)
		return err == nil && st.IsDir()
	}
	if !strings.Contains(ref, "/") && has(ref) {
		return ref, nil
	}
	b, err := readBounded(root, "refs/"+ref, 1024)
	if err == nil {
		rev := strings.TrimSpace(string(b))
		if !isHex(rev, 40) {
			return "", fmt.Errorf("%w: refs/%s in %s holds no commit", ErrSource, ref, h.Dir)
		}
		if !has(rev) {
			return "", fmt.Errorf("%w: refs/%s in %s names %s, which was not downloaded", ErrSource, ref, h.Dir, rev)
		}
		return rev, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	all, err := fs.ReadDir(root.FS(), "snapshots")
	if err != nil {
		return "", fmt.Errorf("%w: %s is no repository of a Hugging Face cache: %w", ErrSource, h.Dir, err)
	}
	var revs []string
	for _, e := range all {
		if e.IsDir() {
			revs = append(revs, e.Name())
		}
	}
	if h.Revision == "" && len(revs) == 1 {
		return revs[0], nil
	}
	slices.Sort(revs)
	return "", fmt.Errorf("%w: %s has no revision %q; it has %s (write hf:%s@REVISION)", ErrSource, h.Dir, ref, strings.Join(revs, ", "), h.Dir)
}

// file adds one file of a snapshot.
func (h HuggingFace) file(ctx context.Context, root *os.Root, p, name string, d fs.DirEntry, in *store.Intake) error {
	blob := p
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		target, err := root.Readlink(p)
		if err != nil {
			return err
		}
		blob = path.Join(path.Dir(p), target)
		// Only one step, straight into blobs/, as the cache makes them.
		if path.IsAbs(target) || path.Dir(blob) != "blobs" {
			return &store.Violation{Rule: store.RuleLink, Subject: name, Detail: fmt.Sprintf("it leads to %q and not into the repository's blobs", target)}
		}
		st, err := root.Lstat(blob)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s leads to %s, which is missing; download the model again", ErrSource, path.Join(h.Dir, p), blob)
		}
		if err != nil {
			return err
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			return &store.Violation{Rule: store.RuleLink, Subject: name, Detail: blob + " is itself a symlink"}
		}
	case !d.Type().IsRegular():
		return &store.Violation{Rule: store.RuleSpecial, Subject: name, Detail: fmt.Sprintf("it is no regular file (%s)", d.Type())}
	}
	r, err := openSteady(root, blob)
	if err != nil {
		return err
	}
	defer r.close()
	f := store.File{Name: name, Size: r.before.Size(), Open: r.open}
	// Where the system has no symlinks the snapshot holds the files themselves,
	// and there is no name to compare with.
	if hash := path.Base(blob); blob != p {
		switch {
		case isHex(hash, 64):
			f.SHA256, f.Resumable = hash, true
		case isHex(hash, 40):
			git := sha1.New() // git's name of the content, compared and not trusted
			fmt.Fprintf(git, "blob %d\x00", f.Size)
			f.Also = git
			f.Accept = func() error {
				if got := hex.EncodeToString(git.Sum(nil)); got != hash {
					return &store.Violation{Rule: store.RuleDigest, Subject: name, Detail: fmt.Sprintf("its git hash is %s and the cache names it %s", got, hash)}
				}
				return nil
			}
		default:
			return &store.Violation{Rule: store.RuleDigest, Subject: name, Detail: fmt.Sprintf("its blob is called %q, which is no digest", hash)}
		}
	}
	_, err = in.Add(ctx, f)
	return r.blame(err)
}
