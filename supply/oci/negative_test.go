package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

type negative struct {
	area, name string
	artifact   func(t *testing.T) *artifact
	set        func(t *testing.T, f *fakeRegistry)
	limits     func(*Limits)
	want       error
	text       string // part of the message
}

func negatives() []negative {
	layer := func(mediaType, name string, content func(t *testing.T) []byte) func(*testing.T) *artifact {
		return func(t *testing.T) *artifact {
			return newArtifact(modelPackArtifact, modelPackConfig).layer(mediaType, name, content(t))
		}
	}
	answer := func(part string, h http.HandlerFunc) func(*testing.T, *fakeRegistry) {
		return func(_ *testing.T, f *fakeRegistry) { f.answer = on(part, h) }
	}
	tarOf := func(how packing, entries ...entryOf) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return archive(t, how, entries...) }
	}
	const plainTar = "application/vnd.cncf.model.weight.v1.tar"
	path := func(name string) func(*testing.T) *artifact {
		return layer("application/vnd.cncf.model.weight.v1.raw", name, func(*testing.T) []byte { return []byte("x") })
	}
	link := func(typeflag byte, name, to string) entryOf {
		e := file(name, "")
		e.Typeflag, e.Linkname = typeflag, to
		return e
	}
	change := func(f func(a *artifact)) func(*testing.T) *artifact {
		return func(*testing.T) *artifact { a := oneFile(); f(a); return a }
	}
	return []negative{
		// registry: what comes over the wire
		{area: "registry", name: "lies about the digest of a blob", want: ErrDigest, set: answer("/blobs/", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(bytes.Repeat([]byte("f"), len(weights)))
		})},
		{area: "registry", name: "announces another size of a blob", want: ErrSize, set: answer("/blobs/", func(w http.ResponseWriter, _ *http.Request) { w.Write(weights[:100]) })},
		{area: "registry", name: "blob without end", want: ErrSize, set: answer("/blobs/", func(w http.ResponseWriter, _ *http.Request) { endless(w, weights) })},
		{area: "registry", name: "manifest without end", want: ErrLimit, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			manifestHeader(w)
			endless(w, []byte(strings.Repeat(" ", 4096)))
		})},
		{area: "registry", name: "huge manifest", want: ErrLimit, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			manifestHeader(w)
			w.Header().Set("Content-Length", strconv.Itoa(1<<40))
		})},
		{area: "registry", name: "stalls before the header", want: ErrStalled, limits: impatient, set: answer("/manifests/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
		{area: "registry", name: "stalls in a blob", want: ErrStalled, limits: impatient, set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(weights)))
			w.Write(weights[:10])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})},
		{area: "registry", name: "cuts every blob short", want: ErrTruncated, set: answer("/blobs/", func(w http.ResponseWriter, _ *http.Request) { cut(w, weights[:10], len(weights)) })},
		{area: "registry", name: "a byte per connection", want: ErrTruncated, set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			var from int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(weights)-1, len(weights)))
				w.Header().Set("Content-Length", strconv.Itoa(len(weights)-from))
				w.WriteHeader(http.StatusPartialContent)
			}
			cut(w, weights[from:from+1], len(weights)-from)
		})},
		{area: "registry", name: "cuts the manifest short", want: ErrTruncated, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { manifestHeader(w); cut(w, []byte("{"), 400) })},
		{area: "registry", name: "another range than asked for", want: ErrSize, set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				cut(w, weights[:2<<20], len(weights))
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(weights)-1, len(weights)))
			w.WriteHeader(http.StatusPartialContent)
		})},
		{area: "registry", name: "status 500 for ever", want: ErrServer, text: "tried 3 times", set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })},
		{area: "registry", name: "status 500 for blobs", want: ErrServer, text: "tried 3 times", set: answer("/blobs/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })},
		{area: "registry", name: "status 418", want: ErrRefused, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) })},
		{area: "registry", name: "unknown tag", want: ErrNotFound, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })},
		{area: "registry", name: "missing blob", want: ErrNotFound, set: answer("/blobs/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })},
		{area: "registry", name: "no credentials", want: ErrAuth, set: answer("/v2/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
		})},
		{area: "registry", name: "header without end", want: ErrUnreachable, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) })},
		{area: "registry", name: "web page instead of a manifest", want: ErrContentType, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		})},
		{area: "registry", name: "digest header of something else", want: ErrDigest, set: answer("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			manifestHeader(w)
			w.Header().Set("Docker-Content-Digest", digest.FromString("other").String())
			io.WriteString(w, "{}")
		})},
		{area: "registry", name: "tag moves and the old layers go", want: ErrNotFound, set: func(t *testing.T, f *fakeRegistry) {
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/manifests/v1") { // and from now on the tag is another model
					src := f.manifests["v1"]
					other := newArtifact(modelPackArtifact, modelPackConfig).layer("application/vnd.cncf.model.weight.v1.raw", "model.gguf", []byte("other"))
					f.manifests["v1"], f.blobs = other.bytes(t), other.blobs
					manifestHeader(w)
					w.Write(src)
					return true
				}
				return false
			}
		}},

		// redirects
		{area: "redirect", name: "in a loop", want: ErrRedirect, text: "goes round", set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		})},
		{area: "redirect", name: "ever further", want: ErrRedirect, text: "number 6", set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		})},
		{area: "redirect", name: "to plain http elsewhere", want: ErrPlainHTTP, set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://blobs.example/x", http.StatusTemporaryRedirect)
		})},
		{area: "redirect", name: "to a file", want: ErrRedirect, text: "unknown scheme", set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
		})},
		{area: "redirect", name: "with credentials in it", want: ErrRedirect, text: "credentials", set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:p@127.0.0.1:1/x", http.StatusTemporaryRedirect)
		})},

		// documents
		{area: "manifest", name: "not JSON", want: ErrManifest, set: func(_ *testing.T, f *fakeRegistry) { f.manifests["v1"] = []byte("{") }},
		{area: "manifest", name: "schema version 1", want: ErrManifest, artifact: change(func(a *artifact) { a.manifest.SchemaVersion = 1 })},
		{area: "manifest", name: "calls itself an index", want: ErrContentType, artifact: change(func(a *artifact) { a.manifest.MediaType = ocispec.MediaTypeImageIndex })},
		{area: "manifest", name: "manifest and index in one", want: ErrManifest, set: func(_ *testing.T, f *fakeRegistry) {
			f.manifests["v1"] = []byte(`{"schemaVersion":2,"layers":[],"manifests":[]}`)
		}},
		{area: "manifest", name: "no layers", want: ErrManifest, artifact: change(func(a *artifact) { a.manifest.Layers = []ocispec.Descriptor{} })},
		{area: "manifest", name: "layer with a sha512 digest", want: ErrManifest, artifact: change(func(a *artifact) { a.manifest.Layers[0].Digest = digest.SHA512.FromString("x") })},
		{area: "manifest", name: "layer with a digest that is a path", want: ErrManifest, artifact: change(func(a *artifact) { a.manifest.Layers[0].Digest = "sha256:../../etc/passwd" })},
		{area: "manifest", name: "layer of negative size", want: ErrManifest, artifact: change(func(a *artifact) { a.manifest.Layers[0].Size = -1 })},
		{area: "manifest", name: "layers larger than allowed", want: ErrLimit, artifact: change(func(a *artifact) { a.manifest.Layers[0].Size = 1 << 62 })},
		{area: "manifest", name: "more layers than allowed", want: ErrLimit, limits: func(l *Limits) { l.Layers = 2 }, artifact: change(func(a *artifact) { a.layer(plainTar, "", nil).layer(plainTar, "", nil) })},
		{area: "manifest", name: "layer without a name", want: ErrManifest, artifact: path("")},
		{area: "manifest", name: "path with ..", want: ErrManifest, artifact: path("../x")},
		{area: "manifest", name: "absolute path", want: ErrManifest, artifact: path("/etc/x")},
		{area: "manifest", name: "path with NUL", want: ErrManifest, artifact: path("a\x00b")},
		{area: "manifest", name: "path into .git", want: ErrManifest, artifact: path(".git/hooks/post-checkout")},
		{area: "manifest", name: "path 4,096 deep", want: ErrManifest, artifact: path(strings.Repeat("d/", 4095) + "x")},
		{area: "manifest", name: "one path twice", want: ErrManifest, artifact: change(func(a *artifact) { a.layer("application/vnd.cncf.model.doc.v1.raw", "model.gguf", []byte("x")) })},
		{area: "manifest", name: "a file where a folder is", want: ErrArchive, artifact: change(func(a *artifact) {
			a.layer("application/vnd.cncf.model.doc.v1.raw", "model.gguf/x", []byte("x"))
		})},
		{area: "manifest", name: "unknown kind", want: ErrMediaType, artifact: func(*testing.T) *artifact {
			return newArtifact("", ocispec.MediaTypeImageConfig).layer(ocispec.MediaTypeImageLayer, "", []byte("x"))
		}},
		{area: "manifest", name: "unknown layer", want: ErrMediaType, artifact: layer("application/vnd.cncf.model.weight.v2.raw", "x", func(*testing.T) []byte { return nil })},
		{area: "manifest", name: "unknown Ollama layer", want: ErrMediaType, artifact: func(*testing.T) *artifact {
			return newArtifact("", "application/vnd.docker.container.image.v1+json").layer("application/vnd.ollama.image.tensor; name=x", "", nil)
		}},
		{area: "manifest", name: "two Ollama models", want: ErrManifest, artifact: func(*testing.T) *artifact {
			return newArtifact("", "").layer("application/vnd.ollama.image.model", "", nil).layer("application/vnd.ollama.image.model", "", []byte("x"))
		}},
		{area: "index", name: "of two models", want: ErrSeveral, set: func(t *testing.T, f *fakeRegistry) {
			other := newArtifact(modelPackArtifact, modelPackConfig).layer("application/vnd.cncf.model.weight.v1.raw", "b", []byte("b")).bytes(t)
			f.manifests[digest.FromBytes(other).String()] = other
			f.index(t, described(f.manifests["v1"]), described(other))
		}},
		{area: "index", name: "of no model", want: ErrMediaType, set: func(t *testing.T, f *fakeRegistry) { f.index(t) }},
		{area: "index", name: "lists an index only", want: ErrMediaType, set: func(t *testing.T, f *fakeRegistry) {
			d := described(f.manifests["v1"])
			d.MediaType = ocispec.MediaTypeImageIndex
			f.index(t, d)
		}},
		{area: "index", name: "lists itself, by a lying registry", want: ErrDigest, set: func(t *testing.T, f *fakeRegistry) {
			d := described([]byte("itself"))
			f.index(t, d)
			f.manifests[d.Digest.String()], f.types[d.Digest.String()] = f.manifests["v1"], ocispec.MediaTypeImageIndex
		}},
		{area: "index", name: "with too many entries", want: ErrLimit, set: func(t *testing.T, f *fakeRegistry) {
			var many []ocispec.Descriptor
			for i := range 20 {
				many = append(many, described([]byte(strconv.Itoa(i))))
			}
			f.index(t, many...)
		}},
		{area: "index", name: "lies about a size", want: ErrSize, set: func(t *testing.T, f *fakeRegistry) {
			d := described(f.manifests["v1"])
			d.Size++
			f.index(t, d)
		}},

		// archives
		{area: "archive", name: "path with ..", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, file("../x", "x")))},
		{area: "archive", name: ".. in the middle", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, file("a/../../x", "x")))},
		{area: "archive", name: "absolute path", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, file("/x", "x")))},
		{area: "archive", name: "symlink", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, link('2', "x", "/etc/passwd")))},
		{area: "archive", name: "hard link", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, file("a", "a"), link('1', "x", "a")))},
		{area: "archive", name: "device", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, link('3', "x", "")))},
		{area: "archive", name: "fifo", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, link('6', "x", "")))},
		{area: "archive", name: "one name twice", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, file("x", "1"), file("./x", "2")))},
		{area: "archive", name: "file and folder of one name", want: ErrArchive, artifact: layer(plainTar, "", tarOf(tarred, file("x", "1"), file("x/y", "2")))},
		{area: "archive", name: "name of a raw layer", want: ErrArchive, artifact: func(t *testing.T) *artifact {
			return oneFile().layer(plainTar, "", archive(t, tarred, file("model.gguf", "x")))
		}},
		{area: "archive", name: "too many files", want: ErrLimit, artifact: layer(plainTar, "", func(t *testing.T) []byte {
			var many []entryOf
			for i := range 101 {
				many = append(many, file(strconv.Itoa(i), ""))
			}
			return archive(t, tarred, many...)
		})},
		{area: "archive", name: "no files", want: ErrManifest, artifact: layer(plainTar, "", tarOf(tarred))},
		{area: "archive", name: "not a tar", want: ErrArchive, artifact: layer(plainTar, "", func(*testing.T) []byte { return bytes.Repeat([]byte("x"), 2048) })},
		{area: "archive", name: "ends early", want: ErrArchive, artifact: layer(plainTar, "", func(t *testing.T) []byte { return archive(t, tarred, file("x", strings.Repeat("x", 4096)))[:1024] })},
		{area: "archive", name: "gzip that is none", want: ErrArchive, artifact: layer(plainTar+"+gzip", "", func(*testing.T) []byte { return []byte("not gzip") })},
		{area: "archive", name: "zstd that is none", want: ErrArchive, artifact: layer(plainTar+"+zstd", "", func(*testing.T) []byte { return []byte("not zstd") })},
		{area: "archive", name: "gzip bomb", want: ErrCompression, artifact: layer(plainTar+"+gzip", "", tarOf(gzipped, file("zeros", strings.Repeat("\x00", 16<<20))))},
		{area: "archive", name: "zstd bomb", want: ErrCompression, artifact: layer(plainTar+"+zstd", "", tarOf(zstandard, file("zeros", strings.Repeat("\x00", 16<<20))))},
		{area: "archive", name: "bomb behind the last file", want: ErrCompression, artifact: layer(plainTar+"+gzip", "", func(t *testing.T) []byte {
			return pack(t, gzipped, append(archive(t, tarred, file("x", "x")), make([]byte, 16<<20)...))
		})},
		{area: "archive", name: "more bytes than allowed", want: ErrLimit, limits: func(l *Limits) { l.Bytes = 100_000 }, artifact: layer(plainTar+"+gzip", "", func(t *testing.T) []byte {
			return archive(t, gzipped, file("x", strings.Repeat("ab", 60_000)))
		})},

		// what refers to the model
		{area: "referrers", name: "pages without end", want: ErrLimit, set: answer("/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+r.URL.Path+"?n="+strconv.Itoa(time.Now().Nanosecond())+`>; rel="next"`)
			writeIndex(w, nil)
		})},
		{area: "referrers", name: "more than allowed", want: ErrLimit, set: answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			writeIndex(w, make([]ocispec.Descriptor, 9))
		})},
		{area: "referrers", name: "next page on another host", want: ErrReferrers, set: answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<https://elsewhere.example/x>; rel="next"`)
			writeIndex(w, nil)
		})},
		{area: "referrers", name: "list without end", want: ErrReferrers, set: answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			endless(w, []byte(strings.Repeat(" ", 4096)))
		})},
		{area: "referrers", name: "status 500", want: ErrServer, set: answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })},
		{area: "referrers", name: "listed and missing", want: ErrNotFound, set: func(_ *testing.T, f *fakeRegistry) { f.referrers = []ocispec.Descriptor{described([]byte("gone"))} }},
		{area: "referrers", name: "digest that is a path", want: ErrReferrers, set: func(_ *testing.T, f *fakeRegistry) {
			d := described([]byte("x"))
			d.Digest = "sha256:../x"
			f.referrers = []ocispec.Descriptor{d}
		}},
		{area: "referrers", name: "huge bundle", want: ErrLimit, set: func(t *testing.T, f *fakeRegistry) {
			f.attach(t, digest.FromBytes(f.manifests["v1"]), bundle.MediaType, bytes.Repeat([]byte(" "), 300<<10))
		}},
	}
}

// Whatever a registry or an artifact does, pull ends with the error that names
// it, and leaves no folder behind.
func TestNegativeMatrix(t *testing.T) {
	for _, tc := range negatives() {
		t.Run(tc.area+"/"+tc.name, func(t *testing.T) {
			a := oneFile()
			if tc.artifact != nil {
				a = tc.artifact(t)
			}
			f := newFake(t, false, a)
			if tc.set != nil {
				tc.set(t, f)
			}
			l := tight()
			if tc.limits != nil {
				tc.limits(&l)
			}
			parent := t.TempDir()
			_, err := Pull(t.Context(), f.ref(t), filepath.Join(parent, "model"), Client{Limits: l})
			if !errors.Is(err, tc.want) || !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("ended with %v, want %v %q", err, tc.want, tc.text)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
			left, e := os.ReadDir(parent)
			if e != nil {
				t.Fatal(e)
			}
			for _, x := range left {
				if x.Name() != ".model.pull" || !passing(err) {
					t.Errorf("%s is left behind", x.Name())
				}
			}
			outcome(t, tc.area, tc.name, tc.want)
		})
	}
	t.Run("push", hostilePush)
	t.Run("layout", badLayouts)
	t.Run("ingest", refusals)
}

// outcome prints a line of the matrix.
func outcome(t *testing.T, area, name string, want error) {
	t.Helper()
	t.Logf("%-28s %-44s -> %s", "oci "+area, name, strings.TrimPrefix(want.Error(), ErrUnusable.Error()+": "))
}
