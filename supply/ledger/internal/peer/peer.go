// Package peer starts other people's programs for the ledger's tests.
//
// It is for tests alone, and ends what it started when the test ends.
package peer

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

// Path finds a program that `make peers` builds.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	return testreq.File(t, filepath.Join(dir, "bin", "peers", name), "make peers")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Tool finds a program of the system.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	testreq.Need(t, err == nil, name+" (make peers)")
	return path
}

// Run runs a program to its end and gives what it wrote.
func Run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Output is what a program has written so far.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Output) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Output) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Start runs a program until stop is called or the test ends.
func Start(t testing.TB, name string, args ...string) (out *Output, stop func()) {
	t.Helper()
	out = &Output{}
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = out, out
	c.WaitDelay = time.Second // children may hold its output open
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	})
	t.Cleanup(stop)
	return out, stop
}

// Wait tries until it is so.
func Wait(t testing.TB, what string, so func() bool) {
	t.Helper()
	for range 1000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// Witness is a running litewitness.
type Witness struct {
	URL, Key string
	Stop     func()
	// Start runs it again on the same state.
	Start func()
}

var vkey = regexp.MustCompile(`vkey="?([^"\s]+)`)

// Litewitness starts filippo.io/torchwood's witness with its key in a real
// ssh-agent. It knows the log of that origin and verifier key.
func Litewitness(t testing.TB, name, origin, key string) *Witness {
	t.Helper()
	program := Path(t, "litewitness")
	agent, add, keygen, sqlite := Tool(t, "ssh-agent"), Tool(t, "ssh-add"), Tool(t, "ssh-keygen"), Tool(t, "sqlite3")
	dir, err := os.MkdirTemp("", "witness") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	sock, db, id := filepath.Join(dir, "agent"), filepath.Join(dir, "db"), filepath.Join(dir, "id")
	Start(t, agent, "-D", "-a", sock)
	Wait(t, "ssh-agent", func() bool { return exists(sock) })
	Run(t, "", keygen, "-q", "-t", "ed25519", "-N", "", "-f", id)
	Run(t, "", "env", "SSH_AUTH_SOCK="+sock, add, "-q", id)
	print := strings.Fields(Run(t, "", keygen, "-l", "-f", id))[1]

	w := &Witness{}
	w.Start = func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		if w.URL != "" { // the same address again
			addr = strings.TrimPrefix(w.URL, "http://")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		out, stop := Start(t, program, "-name", name, "-db", db, "-ssh-agent", sock, "-key", print, "-listen", addr)
		Wait(t, "litewitness: "+out.String(), func() bool {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return false
			}
			c.Close()
			return vkey.MatchString(out.String())
		})
		w.URL, w.Stop, w.Key = "http://"+addr, stop, vkey.FindStringSubmatch(out.String())[1]
	}
	w.Start()
	// witnessctl does this; the hash is that of the empty tree.
	const empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	Run(t, fmt.Sprintf("PRAGMA busy_timeout=5000; INSERT INTO log VALUES ('%s', 0, '%s'); INSERT INTO key VALUES ('%s', '%s');", origin, empty, origin, key), sqlite, db)
	return w
}

// Say runs a program to its end, however that is, and gives what it wrote.
func Say(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}
