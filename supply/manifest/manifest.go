package manifest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
)

// ErrFolder is what every [FolderError] is.
var ErrFolder = errors.New("not a model folder")

// FolderError is a folder that cannot be a model: empty, with files that are
// not regular, with names that cannot be signed, or changing while it is read.
// It lists everything that was found, up to 100 problems, by name; the rules
// are the Rule constants.
type FolderError struct {
	Problems []record.Problem // at least one
}

func (e *FolderError) Error() string {
	var b strings.Builder
	b.WriteString(ErrFolder.Error())
	for i, p := range e.Problems[:min(len(e.Problems), 3)] {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		fmt.Fprintf(&b, "%q: %s", p.Subject, p.Detail)
	}
	if more := len(e.Problems) - 3; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// Is makes every FolderError an ErrFolder.
func (e *FolderError) Is(target error) bool { return target == ErrFolder }

func folderFault(rule, subject, detail string) error {
	return &FolderError{Problems: []record.Problem{{Rule: rule, Subject: subject, Detail: detail}}}
}

// The evidence files, which lie at the top of a model folder without being part
// of the model.
const (
	SignatureFile  = "model.sig"
	ClaimsFile     = "claims.jsonl"
	BOMFile        = "bom.json"
	ProvenanceFile = "provenance.json"
)

// EvidenceFiles are left out of a model's manifest, at the top level only.
var EvidenceFiles = []string{BOMFile, ClaimsFile, SignatureFile, ProvenanceFile}

// GitPaths are left out as OMS does by default, at the top level only.
var GitPaths = []string{".git", ".gitattributes", ".github", ".gitignore"}

// Method is how files become resources.
type Method string

// Files gives one resource per file, Shards one per [Options.ShardSize] bytes.
const (
	Files  Method = "files"
	Shards Method = "shards"
)

// Hash is the function of the resources' digests. Roots are SHA-256 always.
type Hash string

// The hashes of OMS. BLAKE2b is the 64-byte form, BLAKE3 the 32-byte one.
const (
	SHA256  Hash = "sha256"
	BLAKE2b Hash = "blake2b"
	BLAKE3  Hash = "blake3"
)

// Resource is one file, or one shard of a file as "path:start:end".
type Resource struct {
	Name   string // slash-separated, relative to the folder
	Digest []byte
	Size   int64
}

// Manifest is the content of one model. Resources are in the order of their
// names as bytes (OMS 5.2.1).
type Manifest struct {
	Method    Method
	Hash      Hash
	Resources []Resource

	entries []entry // the files behind the resources, by name
	options Options // they were found with
	single  bool    // made by File
}

// Root is the OMS root: SHA-256, as hex, over the resources' raw digests in
// the order of their names.
func (m *Manifest) Root() string { return Root(m.Resources) }

// PythonRoot is the root in the order of the Python implementation, which
// sorts by path components ("a/b" before "a-b"). Where it differs from Root,
// a look-up has to know both.
func (m *Manifest) PythonRoot() string {
	rs := slices.SortedFunc(slices.Values(m.Resources), func(a, b Resource) int {
		return slices.Compare(strings.Split(a.Name, "/"), strings.Split(b.Name, "/"))
	})
	return Root(rs)
}

// Root is the OMS root over resources in the order given.
func Root(rs []Resource) string {
	h := sha256.New()
	for _, r := range rs {
		h.Write(r.Digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Identity is the weighbridge identity of all files together; see package
// weights. It is defined for method Files with SHA-256 only.
func (m *Manifest) Identity() (weights.Identity, bool) {
	if m.Method != Files || m.Hash != SHA256 {
		return "", false
	}
	files := make([]weights.FileDigest, len(m.Resources))
	for i, r := range m.Resources {
		files[i] = weights.FileDigest{Path: r.Name, SHA256: hex.EncodeToString(r.Digest), Bytes: r.Size}
	}
	return weights.Identify(files), true
}

// Find gives the resource of that name.
func (m *Manifest) Find(name string) (Resource, bool) {
	i, ok := slices.BinarySearchFunc(m.Resources, name, func(r Resource, name string) int { return cmp.Compare(r.Name, name) })
	if !ok {
		return Resource{}, false
	}
	return m.Resources[i], true
}

// Without is the manifest without the given paths and what is below them. Its
// Recheck still speaks of all files that were read.
func (m *Manifest) Without(paths []string) *Manifest {
	cut := *m
	cut.Resources = slices.DeleteFunc(slices.Clone(m.Resources), func(r Resource) bool {
		return Covered(m.Method.FileOf(r.Name), paths)
	})
	return &cut
}

// Bytes is the size of all files together.
func (m *Manifest) Bytes() (n int64) {
	for _, r := range m.Resources {
		n += r.Size
	}
	return n
}
