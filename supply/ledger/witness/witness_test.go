package witness_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/internal/peer"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/witness"
)

const origin = "ledger.example/gate"

// log signs trees of any history.
type log struct {
	key    ledger.Key
	hashes []tlog.Hash
}

func newLog(t *testing.T, name string) *log {
	t.Helper()
	private, public, err := ledger.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ledger.ParseKey(private, public)
	if err != nil {
		t.Fatal(err)
	}
	return &log{key: key}
}

func (l *log) ReadHashes(is []int64) (out []tlog.Hash, err error) {
	for _, i := range is {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// grow makes a history of n entries out of a word.
func (l *log) grow(t *testing.T, word string, n int64) *log {
	t.Helper()
	g := &log{key: l.key}
	for i := range n {
		more, err := tlog.StoredHashes(i, fmt.Appendf(nil, "%s %d", word, i), g)
		if err != nil {
			t.Fatal(err)
		}
		g.hashes = append(g.hashes, more...)
	}
	return g
}

// body is a request from size old to size n.
func (l *log) body(t *testing.T, old, n int64) string {
	t.Helper()
	root, err := tlog.TreeHash(n, l)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.key.Name(), n, root)}, l.key)
	if err != nil {
		t.Fatal(err)
	}
	x := proof.Extension{Old: old, Checkpoint: raw}
	if 0 < old && old < n {
		if x.Path, err = tlog.ProveTree(n, old, l); err != nil {
			t.Fatal(err)
		}
	}
	return string(x.Marshal())
}

func post(t *testing.T, url, body string) (status int, kind, answer string) {
	t.Helper()
	res, err := http.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(b)
}

func ours(t *testing.T, dir string, key ledger.Key) (url, vkey string) {
	t.Helper()
	private, _, err := ledger.GenerateKey("witness.example/ours")
	if err != nil {
		t.Fatal(err)
	}
	s, err := proof.NewCosigner(private, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := proof.ForKey(key.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.New(dir, s, p, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	return srv.URL, s.VerifierKey()
}

// Our witness and litewitness answer the same requests alike, in this order;
// where they differ, ours does as the specification says.
func TestNegativeMatrix(t *testing.T) {
	l := newLog(t, origin)
	good := l.grow(t, "good", 40)
	fork := l.grow(t, "fork", 40)
	stranger := newLog(t, "other.example/log").grow(t, "good", 3)
	impostor := newLog(t, origin).grow(t, "good", 40)

	url, vkey := ours(t, t.TempDir(), l.key)
	lite := peer.Litewitness(t, "witness.example/lite", origin, l.key.Verifier)
	policy, err := proof.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness ours %s\nwitness lite %s\ngroup g any ours lite\nquorum g\n", l.key.Verifier, vkey, lite.Key))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, body string
		status     int
		lite       int // where litewitness answers otherwise
	}{
		{"first checkpoint", good.body(t, 0, 5), 200, 0},
		{"the same again", good.body(t, 5, 5), 200, 0},
		{"extension", good.body(t, 5, 9), 200, 0},
		{"old size is not the known one", good.body(t, 5, 12), 409, 0},
		{"from nothing again", good.body(t, 0, 12), 409, 0},
		{"fork", fork.body(t, 9, 12), 422, 0},
		{"fork of the same size", fork.body(t, 9, 9), 409, 422},
		{"rollback", good.body(t, 9, 4), 400, 0},
		{"proof cut", strings.Replace(good.body(t, 9, 12), "\n", "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 1), 422, 0},
		{"unknown log", stranger.body(t, 0, 3), 404, 0},
		{"signed by another key", impostor.body(t, 9, 12), 403, 0},
		{"signed by nobody", strings.Split(good.body(t, 9, 12), "\n— ")[0] + "\n", 400, 500},
		{"64 hashes", strings.Replace(good.body(t, 9, 12), "\n", "\n"+strings.Repeat("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 64), 1), 400, 0},
		{"no old line", "new 3\n\n" + good.body(t, 9, 12), 400, 0},
		{"empty", "", 400, 0},
		{"extension after all that", good.body(t, 9, 40), 200, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, checkpoint, _ := strings.Cut(tc.body, "\n\n")
			for peer, at := range map[string]string{"ours": url, "lite": lite.URL} {
				want := tc.status
				if peer == "lite" && tc.lite != 0 {
					want = tc.lite
				}
				status, kind, answer := post(t, at, tc.body)
				if status != want {
					t.Errorf("%s: %d %s, want %d", peer, status, answer, want)
					continue
				}
				switch status {
				case 200:
					c, err := policy.Open([]byte(checkpoint + answer))
					if err != nil || len(c.Cosigned) != 1 || c.Cosigned[0] != peer {
						t.Errorf("%s: cosignature %q: %v", peer, answer, err)
					}
				case 409:
					if kind != "text/x.tlog.size" || answer != "9\n" {
						t.Errorf("%s: %s %q", peer, kind, answer)
					}
				}
			}
			t.Logf("%-28s %-44s -> %d", "ledger witness", tc.name, tc.status)
		})
	}
}

// Of many requests at once that start from the same size, those that would
// take the log apart do not get through: what was cosigned is one history.
func TestRacingRequests(t *testing.T) {
	l := newLog(t, origin)
	good, fork := l.grow(t, "good", 64), l.grow(t, "fork", 64)
	dir := t.TempDir()
	url, _ := ours(t, dir, l.key)
	if status, _, answer := post(t, url, good.body(t, 0, 1)); status != 200 {
		t.Fatal(answer)
	}
	var bodies []string
	for n := int64(2); n < 34; n++ {
		bodies = append(bodies, good.body(t, 1, n), fork.body(t, 1, n))
	}
	var mu sync.Mutex
	var cosigned int
	var wg sync.WaitGroup
	for _, b := range bodies {
		wg.Go(func() {
			res, err := http.Post(url+"/add-checkpoint", "text/plain", bytes.NewReader([]byte(b)))
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			if res.StatusCode == 200 {
				cosigned++
			}
		})
	}
	wg.Wait()
	if cosigned != 1 {
		t.Fatalf("%d checkpoints were cosigned from size 1, want 1", cosigned)
	}
	// A witness that starts again knows where it stood.
	again, _ := ours(t, dir, l.key)
	if status, _, answer := post(t, again, good.body(t, 1, 50)); status != 409 || answer == "1\n" {
		t.Fatalf("after a restart: %d %s", status, answer)
	}
}
