package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/audit"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// crashEnv makes the test's program a writer that says what was acknowledged:
// "folder, verifier key, number of the first entry".
const crashEnv = "WEIGHBRIDGE_TEST_LEDGER_WRITER"

func TestMain(m *testing.M) {
	if job := os.Getenv(crashEnv); job != "" {
		f := strings.Split(job, ",")
		if err := writeUntilKilled(f[0], f[1], f[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func writeUntilKilled(dir, verifier, first string) error {
	private, err := ledger.ReadKeyFile(dir + ".key")
	if err != nil {
		return err
	}
	key, err := ledger.ParseKey(private, verifier)
	if err != nil {
		return err
	}
	l, err := ledger.Open(context.Background(), dir, ledger.Options{Key: key, Batch: 8, BatchAge: time.Millisecond})
	if err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscan(first, &n); err != nil {
		return err
	}
	for w := range 4 {
		go func() {
			for i := n + w; ; i += 4 {
				r, err := l.Append(context.Background(), verdict(i))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("%d %d\n", i, r.Index) // one write: a line is whole or not there
			}
		}()
	}
	select {}
}

// Killed again and again in the middle of its work, the ledger has every entry
// that it acknowledged, where it said, in a consistent tree.
func TestKilledWriterLosesNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	private, verifier, err := ledger.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ledger.ParseKey(private, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ledger.Create(dir, key), ledger.WriteKeyFile(dir+".key", private)); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[int]int64{}
	seen, err := tiles.Dir(dir).Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 8 {
		c := exec.Command(self)
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%s,%d", crashEnv, dir, verifier, round*100000))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var i int
			var index int64
			if _, err := fmt.Sscan(lines.Text(), &i, &index); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			acknowledged[i] = index
			if n == 5+7*round { // somewhere in the middle, another place each round
				if err := c.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.Wait() // it was killed
		r, err := audit.Run(t.Context(), dir, audit.Options{Policy: trust(t, key), Seen: seen})
		if err != nil || r.Bad != nil {
			t.Fatalf("round %d: %v %v", round, r.Bad, err)
		}
		seen = r.Checkpoint.Raw
		for i, index := range acknowledged {
			raw, err := tiles.Dir(dir).Entry(index, r.Size)
			if err != nil || string(raw) != string(canonical(t, verdict(i))) {
				t.Fatalf("round %d: entry %d, acknowledged at %d, is %s, %v", round, i, index, raw, err)
			}
		}
	}
	if len(acknowledged) < 100 {
		t.Fatalf("only %d entries were acknowledged: the test shows little", len(acknowledged))
	}
	l := open(t, dir, ledger.Options{Key: key})
	if _, err := l.Append(t.Context(), verdict(1)); err != nil {
		t.Fatal(err)
	}
}

// A full disk refuses entries with its cause; what was acknowledged stays, and
// the ledger goes on when there is room.
func TestDiskFull(t *testing.T) {
	testreq.Root(t)
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=400k"); err != nil {
		testreq.Need(t, false, "the right to mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	dir, key := filepath.Join(mount, "ledger"), newKey(t)
	if err := ledger.Create(dir, key); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), dir, ledger.Options{Key: key, Batch: 64, BatchAge: 2 * time.Millisecond, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acknowledged := map[int64]int{}
	var refused error
	for round := 0; round < 100 && refused == nil; round++ {
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				r, err := l.Append(t.Context(), verdict(64*round+i))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					acknowledged[r.Index] = 64*round + i
				case errors.Is(err, ledger.ErrUnproven): // stored; the checkpoint found no room
				default:
					refused = err
				}
			})
		}
		wg.Wait()
	}
	if !errors.Is(refused, syscall.ENOSPC) {
		t.Fatalf("on a full disk: %v", refused)
	}
	if err := l.Close(); err != nil && !errors.Is(err, ledger.ErrUnproven) {
		t.Fatal(err)
	}
	t.Logf("%d entries acknowledged, then: %v", len(acknowledged), refused)
	if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{Key: key})
	r, err := l.Append(t.Context(), verdict(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := audit.Run(t.Context(), dir, audit.Options{Policy: trust(t, key)})
	if err != nil || res.Bad != nil || r.Index < int64(len(acknowledged)) {
		t.Fatalf("%v %v", res.Bad, err)
	}
	for index, i := range acknowledged {
		raw, err := tiles.Dir(dir).Entry(index, res.Size)
		if err != nil || string(raw) != string(canonical(t, verdict(i))) {
			t.Fatalf("entry %d, acknowledged at %d: %s, %v", i, index, raw, err)
		}
	}
}
