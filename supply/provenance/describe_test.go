package provenance

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

func lastElement(path string) string { return filepath.Base(path) }

// repository makes a git repository with one commit.
func repository(t testing.TB, files map[string]string) string {
	t.Helper()
	_, err := exec.LookPath("git")
	testreq.Need(t, err == nil, "git (apt-get install git)")
	dir := folder(t, "trainer", files)
	gitIn(t, dir, "init", "-q")
	gitIn(t, dir, "add", ".")
	gitIn(t, dir, "commit", "-q", "-m", "x")
	return dir
}

func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	c := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestRepository(t *testing.T) {
	dir := repository(t, map[string]string{"train.py": "print(1)", "old.py": "x = 1\ny = 2\nz = 3\n"})
	head := gitIn(t, dir, "rev-parse", "HEAD")
	r, err := ReadRepository(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Repository{Commit: head}, r); d != "" {
		t.Error(d)
	}
	gitIn(t, dir, "mv", "old.py", "new.py")
	for name, text := range map[string]string{"train.py": "print(2)", "näw \"file\n": "y"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gitIn(t, dir, "remote", "add", "origin", "https://user:secret@git.example.org/team/trainer.git?token=secret")
	d, err := Describe(context.Background(), Code, dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(d.Changed)
	three := int64(3)
	want := Descriptor{Name: "trainer", URI: "git+https://git.example.org/team/trainer.git", Role: Code, Digest: map[string]string{"gitCommit": head},
		Dirty: &three, Changed: []string{"new.py", "näw \"file\n", "train.py"}}
	if d := cmp.Diff(want, d); d != "" {
		t.Error(d)
	}
}

// TestRepositoryStartsNothing: a repository's configuration names programs that
// git would start.
func TestRepositoryStartsNothing(t *testing.T) {
	dir := repository(t, map[string]string{"a": "1"})
	mark := filepath.Join(t.TempDir(), "ran")
	script := filepath.Join(t.TempDir(), "evil")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	gitIn(t, dir, "config", "core.fsmonitor", script)
	gitIn(t, dir, "config", "core.sshCommand", script)
	gitIn(t, dir, "config", "remote.origin.url", "ssh://git@example.org/x")
	gitIn(t, dir, "config", "remote.origin.promisor", "true")
	if _, err := ReadRepository(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	if ok, err := hasCommit(context.Background(), dir, hexC); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("git started a program of the repository")
	}
}

func TestRemoteURI(t *testing.T) {
	for in, want := range map[string]string{
		"https://github.com/o/r.git":   "git+https://github.com/o/r.git",
		"git@github.com:o/r.git":       "git+ssh://github.com/o/r.git",
		"ssh://u:p@host:22/o/r":        "git+ssh://host:22/o/r",
		"/srv/git/r":                   "",
		"file:///srv/git/r":            "",
		"../r":                         "",
		"https://tok:x@h/r?a=b#c":      "git+https://h/r",
		"host:path/with:colon":         "git+ssh://host/path/with:colon",
		"https://%zz":                  "",
		"user@host.example.org:/abs/r": "",
	} {
		if got := remoteURI(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	ctx := context.Background()
	dir := folder(t, "corpus", map[string]string{"a": "1", "b/c": "22"})
	m := read(t, dir)
	two, three, one := int64(2), int64(3), int64(1)
	file := filepath.Join(dir, "a")
	const ofOne = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b" // sha256 of "1"
	id, _ := m.Identity()
	for _, c := range []struct {
		role Role
		arg  string
		want Descriptor
	}{
		{Dataset, dir, Descriptor{Name: "corpus", Role: Dataset, Digest: map[string]string{"sha256": m.Root()}, Files: &two, Bytes: &three}},
		{Dataset, dir + "/", Descriptor{Name: "corpus", Role: Dataset, Digest: map[string]string{"sha256": m.Root()}, Files: &two, Bytes: &three}},
		{Dataset, "train=" + dir, Descriptor{Name: "train", Role: Dataset, Digest: map[string]string{"sha256": m.Root()}, Files: &two, Bytes: &three}},
		{Dataset, "a=b=sha256:" + hexA, Descriptor{Name: "a=b", Role: Dataset, Digest: map[string]string{"sha256": hexA}}},
		{BaseModel, dir, Descriptor{Name: "corpus", Role: BaseModel, Files: &two, Bytes: &three,
			Digest: map[string]string{"sha256": m.Root(), IdentityKey: strings.TrimPrefix(string(id), "sha256:")}}},
		{Environment, file, Descriptor{Name: "a", Role: Environment, Digest: map[string]string{"sha256": ofOne}, Bytes: &one}},
		{Environment, "ghcr.io/o/i:1@sha256:" + hexA, Descriptor{Name: "ghcr.io/o/i:1", URI: "oci://ghcr.io/o/i:1@sha256:" + hexA, Role: Environment, Digest: map[string]string{"sha256": hexA}}},
		{Code, "https://github.com/o/r.git@" + hexC, Descriptor{Name: "r", URI: "git+https://github.com/o/r.git", Role: Code, Digest: map[string]string{"gitCommit": hexC}}},
	} {
		got, err := Describe(ctx, c.role, c.arg)
		if err != nil {
			t.Errorf("%s %s: %v", c.role, c.arg, err)
		} else if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s %s: %s", c.role, c.arg, d)
		}
	}
}

type usageNegative struct {
	name string
	want error
	run  func() error
}

func usageNegatives(t testing.TB) []usageNegative {
	ctx := context.Background()
	describe := func(role Role, arg string) func() error {
		return func() error { _, err := Describe(ctx, role, arg); return err }
	}
	doc := &Document{Dependencies: []Descriptor{{Name: "corpus", Role: Dataset, Digest: map[string]string{"sha256": hexA}}, {Name: "../../etc", Role: Dataset, Digest: map[string]string{"sha256": hexA}}}}
	at := func(args ...string) func() error {
		return func() error { _, err := ParseAt(args, doc); return err }
	}
	escape := folder(t, "escape", map[string]string{"a": "1"})
	if err := os.Symlink("/etc/passwd", filepath.Join(escape, "b")); err != nil {
		t.Fatal(err)
	}
	model := folder(t, "m", map[string]string{"a": "1"})
	m := read(t, model)
	with := func(path string) func() error {
		return func() error {
			st := statement(t, m, FineTune, complete())
			_, _, _, err := Check(ctx, st, m, Options{Lookup: At(map[string]string{"corpus": path})})
			return err
		}
	}
	pipe := folder(t, "pipe", map[string]string{"a": "1"})
	if err := os.Symlink("/etc/passwd", filepath.Join(pipe, manifest.ProvenanceFile)); err != nil {
		t.Fatal(err)
	}
	fifo := folder(t, "fifo", map[string]string{"a": "1"})
	if err := syscall.Mkfifo(filepath.Join(fifo, manifest.ClaimsFile), 0o644); err != nil {
		t.Fatal(err)
	}
	return []usageNegative{
		{"claims.jsonl that is a pipe", ErrFormat, func() error { _, err := Open(fifo); return err }},
		{"--dataset of a path that is not there", ErrUsage, describe(Dataset, "/no/such/place")},
		{"--dataset NAME=DIGEST too short", ErrUsage, describe(Dataset, "x=sha256:abc")},
		{"--dataset with an empty name", ErrUsage, describe(Dataset, "=sha256:"+hexA)},
		{"--dataset called model", ErrUsage, describe(Dataset, "model=sha256:"+hexA)},
		{"--dataset of an empty folder", manifest.ErrFolder, describe(Dataset, t.TempDir())},
		{"--code URI@branch", ErrUsage, describe(Code, "https://github.com/o/r@main")},
		{"--code of a folder without git", ErrGit, describe(Code, t.TempDir())},
		{"--image with half a digest", ErrUsage, describe(Environment, "img@sha256:abc")},
		{"--at without =", ErrUsage, at("corpus")},
		{"--at of an unknown name", ErrUsage, at("corpse=/tmp")},
		{"--at twice", ErrUsage, at("corpus=/a", "corpus=/b")},
		{"--at without a path", ErrUsage, at("corpus=")},
		{"--at path that is not there", ErrUsage, with("/no/such/place")},
		{"--at folder whose symlink leads out", manifest.ErrFolder, with(escape)},
		{"--at device", ErrUsage, with("/dev/null")},
		{"provenance.json that links out of DIR", ErrFormat, func() error { _, err := Open(pipe); return err }},
		{"no provenance at all", fs.ErrNotExist, func() error { _, err := Open(model); return err }},
		{"init with an unknown build type", ErrUsage, func() error { _, err := NewDraft("m", m, "distillation", "https://ci.example.org"); return err }},
		{"init with a builder that is no URI", ErrUsage, func() error { _, err := NewDraft("m", m, Training, "me"); return err }},
		{"--parameter without =", ErrUsage, func() error {
			d, err := NewDraft("m", m, Training, "https://ci.example.org")
			if err != nil {
				return err
			}
			return d.Set("seed")
		}},
	}
}

// TestNamesAreNoPaths: a name in a document is never looked for on disk.
func TestNamesAreNoPaths(t *testing.T) {
	m := read(t, folder(t, "m", map[string]string{"a": "1"}))
	victim := folder(t, "victim", map[string]string{"a": "1"})
	deps := complete()
	deps[1] = dep(Dataset, victim, o{"sha256": read(t, victim).Root()})
	f, _, _ := check(t, statement(t, m, FineTune, deps), m, map[string]string{})
	if f.Checked != 0 || f.Unchecked != 4 {
		t.Errorf("%d digests were compared by a path from the document", f.Checked)
	}
}
