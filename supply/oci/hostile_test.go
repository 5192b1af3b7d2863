package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// registry is a registry for reading, held in memory, whose lies a test adds by
// answer.
type fakeRegistry struct {
	*httptest.Server
	blobs     map[digest.Digest][]byte
	manifests map[string][]byte // by tag and digest
	types     map[string]string // media types of manifests that are not image manifests
	referrers []ocispec.Descriptor
	// answer, where not nil, may answer a request itself.
	answer func(w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	seen []*http.Request
}

func newFake(t testing.TB, tls bool, artifacts ...*artifact) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{blobs: map[digest.Digest][]byte{}, manifests: map[string][]byte{}, types: map[string]string{}}
	for _, a := range artifacts {
		for d, b := range a.blobs {
			f.blobs[d] = b
		}
		src := a.bytes(t)
		f.manifests[digest.FromBytes(src).String()] = src
		f.manifests["v1"] = src
	}
	if tls {
		f.Server = httptest.NewTLSServer(f)
	} else {
		f.Server = httptest.NewServer(f)
	}
	f.Server.Config.ErrorLog = nil
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

func (f *fakeRegistry) host() string { return f.Listener.Addr().String() }

func (f *fakeRegistry) ref(t testing.TB) Reference { return reference(t, f.host()+"/a/b:v1") }

// asked counts the requests for paths with a part.
func (f *fakeRegistry) asked(part string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.seen {
		if strings.Contains(r.URL.Path, part) {
			n++
		}
	}
	return n
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r)
	f.mu.Unlock()
	if f.answer != nil && f.answer(w, r) {
		return
	}
	what, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/a/b/"), "/")
	switch what {
	case "manifests":
		if src, ok := f.manifests[name]; ok {
			mediaType := f.types[name]
			if mediaType == "" {
				mediaType = ocispec.MediaTypeImageManifest
			}
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Docker-Content-Digest", digest.FromBytes(src).String())
			w.Write(src)
			return
		}
	case "blobs":
		if src, ok := f.blobs[digest.Digest(name)]; ok {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(src))
			return
		}
	case "referrers":
		writeIndex(w, f.referrers)
		return
	}
	http.Error(w, "{}", http.StatusNotFound)
}

func writeIndex(w http.ResponseWriter, list []ocispec.Descriptor) {
	var x ocispec.Index
	x.SchemaVersion, x.MediaType, x.Manifests = 2, ocispec.MediaTypeImageIndex, list
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	json.NewEncoder(w).Encode(x)
}

// index puts an index under v1.
func (f *fakeRegistry) index(t testing.TB, list ...ocispec.Descriptor) digest.Digest {
	t.Helper()
	src, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": list})
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromBytes(src)
	for _, k := range []string{"v1", d.String()} {
		f.manifests[k], f.types[k] = src, ocispec.MediaTypeImageIndex
	}
	return d
}

// attach adds a referrer with one document.
func (f *fakeRegistry) attach(t testing.TB, subject digest.Digest, artifactType string, content []byte) {
	t.Helper()
	a := newArtifact(artifactType, ocispec.MediaTypeEmptyJSON).layer(artifactType, "", content)
	a.manifest.Subject = &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: int64(len(f.manifests[subject.String()]))}
	src := a.bytes(t)
	d := digest.FromBytes(src)
	f.manifests[d.String()] = src
	for k, b := range a.blobs {
		f.blobs[k] = b
	}
	f.referrers = append(f.referrers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType, Digest: d, Size: int64(len(src))})
}

var weights = bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB

func oneFile() *artifact {
	return newArtifact(modelPackArtifact, modelPackConfig).layer("application/vnd.cncf.model.weight.v1.raw", "model.gguf", weights)
}

// tight are limits under which hostile cases end soon. Only those that stall
// wait for Idle, and set it with impatient.
func tight() Limits {
	return Limits{Idle: 20 * time.Second, Backoff: time.Millisecond, Manifest: 64 << 10, Pages: 4, Referrers: 8, Evidence: 256 << 10, Files: 100, Layers: 64}
}

func impatient(l *Limits) { l.Idle = 150 * time.Millisecond }

// on answers requests whose path has a part.
func on(part string, h http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		h(w, r)
		return true
	}
}

// endless writes until the client goes away.
func endless(w http.ResponseWriter, chunk []byte) {
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func manifestHeader(w http.ResponseWriter) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
}

// cut sends a part of what it announces and drops the connection.
func cut(w http.ResponseWriter, part []byte, announced int) {
	w.Header().Set("Content-Length", strconv.Itoa(announced))
	w.Write(part)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

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
		{area: "redirect", name: "in a loop", want: ErrRedirect, text: "goes round", set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect) })},
		{area: "redirect", name: "ever further", want: ErrRedirect, text: "number 6", set: answer("/blobs/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect) })},
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

func described(src []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(src), Size: int64(len(src))}
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
			t.Logf("%-28s %-44s -> %s", "oci "+tc.area, tc.name, strings.TrimPrefix(tc.want.Error(), ErrUnusable.Error()+": "))
		})
	}
}

// What fails once or twice does not end a pull, and nothing is fetched twice.
func TestGoesOn(t *testing.T) {
	for name, answer := range map[string]func(n int, w http.ResponseWriter, r *http.Request) bool{
		"blob cut": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 && r.Header.Get("Range") == "" {
				cut(w, weights[:1<<20], len(weights))
			}
			return false
		},
		"range ignored": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				cut(w, weights[:1<<20], len(weights))
			}
			w.Write(weights)
			return true
		},
		"stall": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				w.Header().Set("Content-Length", strconv.Itoa(len(weights)))
				w.Write(weights[:1<<20])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
			return false
		},
		"500 twice": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n <= 2 {
				w.WriteHeader(500)
			}
			return n <= 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, false, oneFile())
			var mu sync.Mutex
			n := 0
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				mu.Lock()
				n++
				now := n
				mu.Unlock()
				return answer(now, w, r)
			}
			dir := filepath.Join(t.TempDir(), "model")
			l := tight()
			if name == "stall" {
				l.Idle, l.Tries = time.Second, 10
			}
			if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: l}); err != nil {
				t.Fatal(err)
			}
			if got := contentOf(t, dir); got["model.gguf"] != string(weights) || len(got) != 1 {
				t.Errorf("pulled %d files, other content", len(got))
			}
		})
	}
}

// A pull that broke off is gone on with by the next one, from the byte it had.
func TestPullResumes(t *testing.T) {
	f := newFake(t, false, oneFile())
	f.answer = on("/blobs/", func(w http.ResponseWriter, _ *http.Request) { cut(w, weights[:2<<20], len(weights)) })
	dir := filepath.Join(t.TempDir(), "model")
	l := tight()
	l.Tries = 1
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: l}); !errors.Is(err, ErrTruncated) {
		t.Fatal(err)
	}
	var ranges []string
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			ranges = append(ranges, r.Header.Get("Range"))
		}
		return false
	}
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: l}); err != nil {
		t.Fatal(err)
	}
	wantTail(t, ranges)
	if contentOf(t, dir)["model.gguf"] != string(weights) {
		t.Error("the content differs")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// wantTail wants one request, for what the first 2 MiB of weights left out.
// Some of them may have been lost with the connection.
func wantTail(t *testing.T, ranges []string) {
	t.Helper()
	var from, to int
	if len(ranges) == 1 {
		fmt.Sscanf(ranges[0], "bytes=%d-%d", &from, &to)
	}
	if from <= 0 || from > 2<<20 || to != len(weights)-1 {
		t.Errorf("asked for %q, want the rest of %d bytes", ranges, len(weights))
	}
}

// A part that lies there with other bytes is fetched again, not trusted.
func TestPullDistrustsParts(t *testing.T) {
	f := newFake(t, false, oneFile())
	dir := filepath.Join(t.TempDir(), "model")
	parts := filepath.Join(filepath.Dir(dir), ".model.pull", "parts")
	if err := os.MkdirAll(parts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(parts, digest.FromBytes(weights).Encoded()), []byte("planted"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: tight()}); err != nil {
		t.Fatal(err)
	}
	if contentOf(t, dir)["model.gguf"] != string(weights) {
		t.Error("the content differs")
	}
}

// The tag is resolved once: a tag that moves during a pull moves nothing.
func TestTagMoves(t *testing.T) {
	f := newFake(t, false, oneFile())
	first := digest.FromBytes(f.manifests["v1"])
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			f.manifests["v1"] = []byte("{}")
		}
		return false
	}
	got, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "model"), Client{Limits: tight()})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != first || !strings.HasSuffix(got.Reference, ":v1@"+first.String()) || f.asked("/manifests/v1") != 1 {
		t.Errorf("pulled %s after %d looks at the tag", got.Reference, f.asked("/manifests/v1"))
	}
}

// Credentials go to the registry and nowhere else, and into no message.
func TestCredentialsStay(t *testing.T) {
	const secret = "s3cret-of-the-test"
	store := newFake(t, false, oneFile()) // where the blobs really are
	f := newFake(t, false, oneFile())
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+secret))
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Header.Get("Authorization") != want:
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			w.WriteHeader(401)
		case strings.Contains(r.URL.Path, "/blobs/"):
			http.Redirect(w, r, store.URL+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			return false
		}
		return true
	}
	c := Client{Limits: tight(), Credentials: func(_ context.Context, host string) (auth.Credential, error) {
		if host != f.host() {
			t.Errorf("credentials are asked for %s", host)
		}
		return auth.Credential{Username: "me", Password: secret}, nil
	}}
	if _, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "model"), c); err != nil {
		t.Fatal(err)
	}
	if len(store.seen) == 0 {
		t.Fatal("the redirect was not followed")
	}
	for _, r := range store.seen {
		if h := r.Header.Get("Authorization"); h != "" {
			t.Errorf("%s got the credentials", r.URL)
		}
	}
	f.answer = on("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		}
		w.WriteHeader(401)
		io.WriteString(w, `{"errors":[{"message":"`+r.Header.Get("Authorization")+`"}]}`)
	})
	_, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "model"), c)
	if !errors.Is(err, ErrAuth) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), want) {
		t.Errorf("ended with %v", err)
	}
}

// TLS is not left, neither by a redirect nor by default.
func TestPlainHTTP(t *testing.T) {
	plain := newFake(t, false, oneFile())
	f := newFake(t, true, oneFile())
	f.answer = on("/blobs/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusTemporaryRedirect) })
	roots := f.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	dir := filepath.Join(t.TempDir(), "model")
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: tight(), RootCAs: roots}); !errors.Is(err, ErrRedirect) || !strings.Contains(err.Error(), "leaves https") {
		t.Errorf("ended with %v", err)
	}
	f.answer = nil
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: tight(), RootCAs: roots}); err != nil {
		t.Error(err)
	}
	g := &guard{base: http.DefaultTransport, idle: time.Second}
	req, err := http.NewRequest(http.MethodGet, "http://registry.example/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.RoundTrip(req); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("ended with %v", err)
	}
}

// A registry outside cannot lead us to this machine or its metadata service.
func TestRedirectInside(t *testing.T) {
	from, err := http.NewRequest(http.MethodGet, "https://registry.example/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"https://127.0.0.1/", "https://localhost:8080/", "https://[::1]/", "https://169.254.169.254/latest", "https://0.0.0.0/"} {
		req, err := http.NewRequest(http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkRedirect(req, []*http.Request{from}, 5); !errors.Is(err, ErrRedirect) {
			t.Errorf("%s: %v", to, err)
		}
	}
	to, err := http.NewRequest(http.MethodGet, "https://blobs.example/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkRedirect(to, []*http.Request{from}, 5); err != nil {
		t.Error(err)
	}
}
