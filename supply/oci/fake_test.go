package oci

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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

func described(src []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(src), Size: int64(len(src))}
}
