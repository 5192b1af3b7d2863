package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

var (
	rootA = strings.Repeat("a", 64)
	rootB = strings.Repeat("b", 64)
)

// ledgerIn makes a ledger and gives its folder and verifier key.
func ledgerIn(t *testing.T) (dir, key string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ledger")
	got := weighbridge(t, "ledger", "init", dir, "--origin", "ledger.example/gate")
	if got.code != 0 {
		t.Fatalf("init: %+v", got)
	}
	st, err := os.Stat(dir + ".key")
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("private key: %v, %v", st.Mode(), err)
	}
	return dir, strings.TrimSpace(got.stdout)
}

func moveArgs(dir, from, to string, more ...string) []string {
	return append([]string{"ledger", "append", dir, "--type", "alias-move", "--actor", "ops@example.com", "--env", "prod",
		"--alias", "champion", "--previous", from, "--model", to}, more...)
}

// The life of a ledger on the command line: what each step prints and the code
// that it exits with.
func TestLedgerVerbs(t *testing.T) {
	dir, key := ledgerIn(t)
	tmp := t.TempDir()
	first, second, since := filepath.Join(tmp, "first"), filepath.Join(tmp, "second"), filepath.Join(tmp, "since")
	old := filepath.Join(tmp, "old.checkpoint")
	step := func(code int, want string, args ...string) {
		t.Helper()
		if got := weighbridge(t, args...); got.code != code || !strings.Contains(got.stdout+got.stderr, want) {
			t.Fatalf("%v\nexit code %d, want %d and %q\n%s%s", args, got.code, code, want, got.stdout, got.stderr)
		}
	}
	step(2, "is not empty", "ledger", "init", filepath.Dir(dir), "--origin", "x", "--key-out", filepath.Join(tmp, "k"))
	step(0, "entry 0 proven", moveArgs(dir, "none", rootA, "-o", first)...)
	checkpoint, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, checkpoint, 0o644); err != nil {
		t.Fatal(err)
	}
	step(0, "1 entries, every hash recomputed", "ledger", "audit", dir, "--key", key)
	backup := filepath.Join(tmp, "backup")
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	step(2, "points to sha256:"+rootA, moveArgs(dir, "none", rootB)...)
	step(0, "entry 1 proven", moveArgs(dir, "sha256:"+rootA, rootB, "-o", second)...)
	step(0, "holds: entry 1 of 2 in ledger.example/gate", "ledger", "verify", second+".tlog-proof", "--entry", second+".json", "--key", key)
	step(1, "does not hold", "ledger", "verify", second+".tlog-proof", "--entry", first+".json", "--key", key)
	_, other := ledgerIn(t)
	step(1, "not signed by a trusted ledger", "ledger", "verify", second+".tlog-proof", "--entry", second+".json", "--key", other)
	step(2, "--key or --policy", "ledger", "verify", second+".tlog-proof", "--entry", second+".json")
	step(0, "c2sp.org/tlog-proof@v1", "ledger", "prove", dir, "--entry", first+".json", "--key", key)
	step(2, "ledger proof does not hold", "ledger", "prove", dir, "7", "--key", key)
	step(0, "", "ledger", "prove", dir, "--since", old, "-o", since, "--key", key)
	step(0, "grew from 1 to 2 entries", "ledger", "verify", since, "--since", old, "--key", key)
	step(0, `"alias":"champion"`, "ledger", "show", dir, "1", "--key", key)
	step(0, "champion", "ledger", "show", dir, "--type", "alias-move", "--model", rootB)
	step(2, "none of [ingest", "ledger", "append", dir, "--type", "verdikt", "--actor", "me")
	step(2, "only a rollback", moveArgs(dir, "sha256:"+rootB, rootA, "--durable")...)
	step(0, "2 entries", "ledger", "audit", dir, "--key", key)
	// Somebody puts the older copy back: the checkpoint kept from the last
	// audit gives it away.
	step(1, "BAD rolled-back", "ledger", "audit", backup, "--key", key, "--state", dir+".seen")
	step(0, "1 entries", "ledger", "audit", backup, "--key", key, "--no-state")
	b, err := os.ReadFile(filepath.Join(dir, "tile", "entries", "000.p", "2"))
	if err != nil {
		t.Fatal(err)
	}
	b[30] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "tile", "entries", "000.p", "2"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	step(1, "BAD entry-hash: entry 0 (tile/entries/000.p/2)", "ledger", "audit", dir, "--key", key)
	step(2, "damaged", moveArgs(dir, "sha256:"+rootB, rootA)...)
}

// A person approves with ssh-keygen; the audit checks the signature again.
func TestLedgerApproval(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	testreq.Need(t, err == nil, "ssh-keygen (make peers)")
	dir, key := ledgerIn(t)
	tmp := t.TempDir()
	id, draft, signers := filepath.Join(tmp, "id"), filepath.Join(tmp, "approval.json"), filepath.Join(tmp, "signers")
	ssh := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(keygen, args...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
		}
	}
	ssh("-q", "-t", "ed25519", "-N", "", "-f", id)
	public, err := os.ReadFile(id + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(signers, []byte(`boss@example.com namespaces="weighbridge-approval@weighbridge.dev" `+string(public)), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"ledger", "draft", "--type", "approval", "--actor", "boss@example.com", "--model", rootA, "--env", "prod",
		"--evidence", "report=@" + signers, "--policy", rootB, "--decision", "approve", "--reason", "read the report", "--expires", "2999-01-01T00:00:00Z", "-o", draft}
	if got := weighbridge(t, args...); got.code != 0 {
		t.Fatalf("draft: %+v", got)
	}
	ssh("-q", "-Y", "sign", "-f", id, "-n", "weighbridge-approval@weighbridge.dev", draft)
	add := []string{"ledger", "append", dir, "--entry", draft, "--signature", draft + ".sig"}
	if got := weighbridge(t, add...); got.code != 2 || !strings.Contains(got.stderr, "without allowed signers") {
		t.Fatalf("without signers: %+v", got)
	}
	if got := weighbridge(t, append(add, "--allowed-signers", signers)...); got.code != 0 {
		t.Fatalf("append: %+v", got)
	}
	if got := weighbridge(t, "ledger", "audit", dir, "--key", key, "--allowed-signers", signers); got.code != 0 || !strings.Contains(got.stdout, "1 signatures of people hold") {
		t.Fatalf("audit: %+v", got)
	}
}

// While the witness is away a promotion is not proven (3), and a rollback goes
// ahead with an alert; when it is back, publish proves both.
func TestLedgerWitness(t *testing.T) {
	dir, key := ledgerIn(t)
	tmp := t.TempDir()
	witnessKey, policy := filepath.Join(tmp, "w.key"), filepath.Join(tmp, "policy")
	got := weighbridge(t, "ledger", "witness", "init", "--name", "witness.example/one", "--key-out", witnessKey)
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	url, stop := serveWitness(t, witnessKey, filepath.Join(tmp, "w"), key)
	content := "log " + key + "\nwitness w " + strings.TrimSpace(got.stdout) + " " + url + "\nquorum w\n"
	if err := os.WriteFile(policy, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	step := func(code int, want string, args ...string) {
		t.Helper()
		if got := weighbridge(t, append(args, "--witnesses", policy, "--timeout", "2s")...); got.code != code || !strings.Contains(got.stdout+got.stderr, want) {
			t.Fatalf("%v\nexit code %d, want %d and %q\n%s%s", args, got.code, code, want, got.stdout, got.stderr)
		}
	}
	out := filepath.Join(tmp, "e")
	step(0, "entry 0 proven", moveArgs(dir, "none", rootA, "-o", out)...)
	if got := weighbridge(t, "ledger", "verify", out+".tlog-proof", "--entry", out+".json", "--policy", policy); got.code != 0 || !strings.Contains(got.stdout, "cosigned by w") {
		t.Fatalf("%+v", got)
	}
	stop()
	step(3, "entry 1 is stored and not proven", moveArgs(dir, "sha256:"+rootA, rootB)...)
	back := moveArgs(dir, "sha256:"+rootB, rootA, "--durable", "--reason", "complaints")
	back[4] = "rollback"
	step(0, "ALERT", back...)
	step(3, "not proven", "ledger", "publish", dir)
	url2, _ := serveWitness(t, witnessKey, filepath.Join(tmp, "w"), key)
	if err := os.WriteFile(policy, []byte(strings.Replace(content, url, url2, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	step(0, "3 entries proven", "ledger", "publish", dir)
	if got := weighbridge(t, "ledger", "audit", dir, "--policy", policy); got.code != 0 || !strings.Contains(got.stdout, "cosigned by w") {
		t.Fatalf("%+v", got)
	}
}

// serveWitness runs `witness serve` until stop.
func serveWitness(t *testing.T, key, state, log string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan string, 1)
	done := make(chan int, 1)
	a := &app{
		Stdout: lineTo(out), Stderr: os.Stderr, Getenv: func(string) string { return "" },
		Notify: func(context.Context) (context.Context, context.CancelFunc) { return ctx, cancel },
	}
	go func() {
		done <- run(a, []string{"ledger", "witness", "serve", "--key", key, "--state", state, "--log", log, "--listen", "127.0.0.1:0"})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("witness: exit code %d", code)
		}
	}
	t.Cleanup(stop)
	select {
	case line := <-out:
		return strings.TrimSpace(line), stop
	case code := <-done:
		t.Fatalf("witness: exit code %d", code)
		return "", nil
	}
}

// lineTo hands on what is written.
type lineTo chan string

func (l lineTo) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
