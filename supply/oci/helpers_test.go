package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/signing"
)

// model is the content of the folder that most tests push.
var model = map[string]string{
	"README.md":                 "# a model\n",
	"LICENSE":                   "Apache-2.0\n",
	"config.json":               `{"model_type":"llama"}`,
	"model.safetensors":         strings.Repeat("weights ", 40_000),
	"tokenizer/tokenizer.json":  "{}",
	"tokenizer/same-again.json": "{}", // one blob, two files
}

// folderOf writes files into a new folder.
func folderOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contentOf reads a folder back.
func contentOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		src, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(src)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// key makes a key pair as files: PEM private and public key.
func key(t testing.TB) (s *bundle.Signer, private, public string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "key.pem"), filepath.Join(dir, "key.pub")
	for path, b := range map[string]*pem.Block{private: {Type: "EC PRIVATE KEY", Bytes: der}, public: {Type: "PUBLIC KEY", Bytes: pub}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = bundle.LoadSigner(bundle.SignerConfig{Key: private}); err != nil {
		t.Fatal(err)
	}
	return s, private, public
}

// signedModel is the model with a signature, a BOM draft, and two claims, of
// which the second names the digest of the manifest as well.
func signedModel(t testing.TB, s *bundle.Signer) string {
	t.Helper()
	dir := folderOf(t, model)
	signed, err := signing.Sign(t.Context(), dir, s, signing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := ManifestDigest(t.Context(), dir, noTime)
	if err != nil {
		t.Fatal(err)
	}
	root := signed.Manifest.Root()
	for _, st := range []bundle.Statement{
		statement(bundle.PredicateProvenance, root),
		statement(bundle.PredicateCycloneDX, root, d.Encoded()),
	} {
		raw, err := s.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		if err := bundle.AppendClaim(filepath.Join(dir, manifest.ClaimsFile), raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.BOMFile), []byte(`{"bomFormat":"CycloneDX"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func statement(predicate string, digests ...string) bundle.Statement {
	st := bundle.Statement{Type: bundle.StatementType, PredicateType: predicate, Predicate: json.RawMessage(`{"specVersion":"1.6"}`)}
	for _, d := range digests {
		st.Subject = append(st.Subject, bundle.Subject{Name: "model", Digest: map[string]string{"sha256": d}})
	}
	return st
}

func reference(t testing.TB, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// entryOf is one entry of a test's archive.
type entryOf struct {
	tar.Header
	content string
}

func file(name, content string) entryOf {
	return entryOf{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, content}
}

func archive(t testing.TB, how packing, entries ...entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return pack(t, how, b.Bytes())
}

func pack(t testing.TB, how packing, src []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch how {
	case gzipped:
		z := gzip.NewWriter(&b)
		if _, err := z.Write(src); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	case zstandard:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(src); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		return src
	}
	return b.Bytes()
}

// artifact is a manifest with its blobs, built by hand.
type artifact struct {
	manifest ocispec.Manifest
	blobs    map[digest.Digest][]byte
}

func newArtifact(artifactType, configType string) *artifact {
	a := &artifact{blobs: map[digest.Digest][]byte{}}
	a.manifest.SchemaVersion = 2
	a.manifest.MediaType = ocispec.MediaTypeImageManifest
	a.manifest.ArtifactType = artifactType
	a.manifest.Config = a.add(configType, []byte("{}"))
	return a
}

func (a *artifact) add(mediaType string, content []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	a.blobs[d.Digest] = content
	return d
}

func (a *artifact) layer(mediaType, name string, content []byte) *artifact {
	d := a.add(mediaType, content)
	if name != "" {
		d.Annotations = map[string]string{annotationPath: name}
	}
	a.manifest.Layers = append(a.manifest.Layers, d)
	return a
}

func (a *artifact) bytes(t testing.TB) []byte {
	t.Helper()
	src, err := json.Marshal(a.manifest)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// layoutOf writes artifacts as a layout, each with a tag t0, t1, …
func layoutOf(t testing.TB, artifacts ...*artifact) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	w, err := newLayoutWriter(Reference{Transport: Layout, Path: dir}, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range artifacts {
		for _, b := range a.blobs {
			if err := w.put(context.Background(), fixed("", b)); err != nil {
				t.Fatal(err)
			}
		}
		it := fixed(a.manifest.MediaType, a.bytes(t))
		it.ArtifactType = a.manifest.ArtifactType
		if err := w.putManifest(context.Background(), it, nil, "t"+string(rune('0'+i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// link2 is the header of a symlink.
func link2(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}
