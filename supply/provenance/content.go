package provenance

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Content is what lies at a path, by the names under which statements may call
// it.
type Content struct {
	// Digests maps algorithms to every digest that names these bytes. A folder
	// has its OMS roots (both orders) and its identity under sha256; a file
	// has its own SHA-256 there as well as the root and the identity of the
	// model that is this file alone.
	Digests map[string][]string
	Folder  bool
	Files   int
	Bytes   int64
	git     bool // a repository, of which only commits were asked
	path    string
}

// Read hashes what lies at path: a file, or a folder as package manifest reads
// it.
func Read(ctx context.Context, path string) (*Content, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return readFile(ctx, path)
	}
	c := &Content{Folder: true, path: path}
	m, err := manifest.Dir(ctx, path, manifest.Options{})
	if err != nil {
		return nil, err
	}
	c.Digests, c.Files, c.Bytes = digestsOf(m), len(m.Resources), m.Bytes()
	return c, nil
}

// digestsOf lists the names of a model.
func digestsOf(m *manifest.Manifest) map[string][]string {
	d := map[string][]string{"sha256": {m.Root()}}
	if p := m.PythonRoot(); p != m.Root() {
		d["sha256"] = append(d["sha256"], p)
	}
	if id, ok := m.Identity(); ok {
		h := strings.TrimPrefix(string(id), "sha256:")
		d["sha256"] = append(d["sha256"], h)
		d[IdentityKey] = []string{h}
	}
	return d
}

func readFile(ctx context.Context, path string) (*Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no regular file and no folder", ErrUsage, path)
	}
	short, long := sha256.New(), sha512.New()
	n, err := io.CopyBuffer(io.MultiWriter(short, long), contextReader{ctx, f}, make([]byte, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	sum := short.Sum(nil)
	d := digestsOf(&manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256,
		Resources: []manifest.Resource{{Name: ".", Digest: sum, Size: n}}})
	d["sha256"] = append([]string{hex.EncodeToString(sum)}, d["sha256"]...)
	d["sha512"] = []string{hex.EncodeToString(long.Sum(nil))}
	return &Content{Digests: d, Files: 1, Bytes: n, path: path}, nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// verdict says how claimed digests relate to what is at hand.
type verdict int

const (
	incomparable verdict = iota // nothing claimed is of an algorithm that was computed
	matches
	differs
	lacks // a repository without the commit: it may be shallow, or another
)

// compare holds claimed digests against the content, and says by which
// algorithm it decided. One that differs outweighs all that match.
func (c *Content) compare(ctx context.Context, claimed map[string]string) (v verdict, algorithm string, err error) {
	for _, alg := range sortedKeys(claimed) {
		have := c.Digests[alg]
		switch {
		case alg == "gitCommit" && c.git:
			ok, err := hasCommit(ctx, c.path, claimed[alg])
			switch {
			case err != nil:
				return 0, "", err
			case ok:
				v, algorithm = matches, alg
			case v == incomparable:
				v, algorithm = lacks, alg
			}
		case len(have) == 0:
		case !slices.Contains(have, claimed[alg]):
			return differs, alg, nil
		case v != matches:
			v, algorithm = matches, alg
		}
	}
	return v, algorithm, nil
}

// readClaimed reads what lies at path as far as the claimed digests need it: of
// a repository with a claimed commit, no working tree.
func readClaimed(ctx context.Context, path string, claimed map[string]string) (*Content, error) {
	if claimed["gitCommit"] != "" && isRepository(path) {
		return &Content{Folder: true, git: true, path: path}, nil
	}
	return Read(ctx, path)
}
