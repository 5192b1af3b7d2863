package oci

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/auth"
)

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
	f.answer = on("/blobs/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	roots := f.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	dir := filepath.Join(t.TempDir(), "model")
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: tight(), TLS: true, RootCAs: roots}); !errors.Is(err, ErrRedirect) || !strings.Contains(err.Error(), "leaves https") {
		t.Errorf("ended with %v", err)
	}
	f.answer = nil
	if _, err := Pull(t.Context(), f.ref(t), dir, Client{Limits: tight(), TLS: true, RootCAs: roots}); err != nil {
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

// Registries that know no types of manifests and no referrers are read as far
// as their documents say what they are.
func TestPlainRegistry(t *testing.T) {
	a := newArtifact("", "application/vnd.docker.container.image.v1+json").layer("application/vnd.ollama.image.model", "", []byte("m"))
	a.manifest.MediaType = dockerManifest
	f := newFake(t, false, a)
	serve := func(src []byte) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.HasSuffix(r.URL.Path, "/manifests/v1"):
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
				w.Write(src)
			case strings.Contains(r.URL.Path, "/referrers/"):
				w.WriteHeader(http.StatusMethodNotAllowed)
			default:
				return false
			}
			return true
		}
	}
	f.answer = serve(f.manifests["v1"])
	got, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "x"), Client{Limits: tight()})
	if err != nil {
		t.Fatal(err)
	}
	if got.Kind != Ollama || f.asked("/manifests/sha256-") != 1 {
		t.Errorf("pulled a %s after %d looks at the tag of referrers", got.Kind, f.asked("/manifests/sha256-"))
	}
	a.manifest.MediaType = ""
	f.answer = serve(a.bytes(t))
	if _, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "x"), Client{Limits: tight()}); !errors.Is(err, ErrContentType) {
		t.Errorf("without any type: %v", err)
	}
}

// hostilePush is part of TestNegativeMatrix: a registry that takes a push badly
// is named, and no tag is set.
func hostilePush(t *testing.T) {
	signer, _, _ := key(t)
	dir := signedModel(t, signer)
	cases := map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, ErrServer},
		"403": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, ErrAuth},
		"uploads go elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/upload")
			w.WriteHeader(http.StatusAccepted)
		}, ErrRefused},
		"uploads are redirected": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, ErrRedirect},
		"stalls": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrStalled},
		"forgets what refers to the model": {func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				w.Header().Set("Location", r.URL.Path+"x")
				w.WriteHeader(http.StatusAccepted)
			default:
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated)
			}
		}, ErrReferrers},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		tc := cases[name]
		t.Run(name, func(t *testing.T) {
			f := newFake(t, false)
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost && r.Method != http.MethodPut {
					return false
				}
				if strings.HasSuffix(r.URL.Path, "/manifests/v1") {
					t.Error("a tag was set")
				}
				tc.answer(w, r)
				return true
			}
			l := tight()
			if tc.want == ErrStalled {
				impatient(&l)
			}
			_, err := Push(t.Context(), dir, f.ref(t), PushOptions{Client: Client{Limits: l}})
			if !errors.Is(err, tc.want) || !errors.Is(err, ErrUnusable) {
				t.Errorf("ended with %v, want %v", err, tc.want)
			}
			outcome(t, "push", name, tc.want)
		})
	}
}
