package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/blake2b"
	"lukechampine.com/blake3"
)

func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		put(t, dir, name, content)
	}
	return dir
}

func put(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(m *Manifest) []string {
	var out []string
	for _, r := range m.Resources {
		out = append(out, r.Name)
	}
	return out
}

func TestDirListsWhatIsPartOfTheModel(t *testing.T) {
	dir := folder(t, map[string]string{
		"a/b": "1", "a-b": "2", "a.b": "3", "README.md": "4", "readme.md": "5", ".hidden": "6", "empty": "",
		".git/config": "x", ".gitignore": "x", ".gitattributes": "x", ".github/w.yml": "x",
		"model.sig": "x", "claims.jsonl": "x", "bom.json": "x", "provenance.json": "x",
		"sub/.git/config": "7", "sub/.gitignore": "8", "sub/model.sig": "9",
		"left/out/x": "x", "left-in": "10", "leftover": "11", "left/in": "12", "naïve/ü:1": "13",
	})
	check(t, os.Mkdir(filepath.Join(dir, "no files"), 0o755))
	m, err := Dir(t.Context(), dir, Options{Ignore: []string{"left/out/"}})
	check(t, err)
	want := []string{".hidden", "README.md", "a-b", "a.b", "a/b", "empty", "left-in", "left/in", "leftover", "naïve/ü:1", "readme.md", "sub/.git/config", "sub/.gitignore", "sub/model.sig"}
	if d := cmp.Diff(want, names(m)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	sum := sha256.Sum256([]byte("1"))
	if r, ok := m.Find("a/b"); !ok || string(r.Digest) != string(sum[:]) || r.Size != 1 {
		t.Errorf("a/b is %+v", r)
	}
	if _, ok := m.Find("a/c"); ok {
		t.Error("found a file that is not there")
	}
	// 2 + 1 digests: roots by hand, in both orders.
	h := func(s string) []byte { b := sha256.Sum256([]byte(s)); return b[:] }
	root := func(ps ...string) string {
		var all []byte
		for _, p := range ps {
			all = append(all, h(p)...)
		}
		return hex.EncodeToString(h(string(all)))
	}
	small, err := Dir(t.Context(), folder(t, map[string]string{"a/b": "1", "a-b": "2"}), Options{})
	check(t, err)
	if got, want := small.Root(), root("2", "1"); got != want {
		t.Errorf("root %s, want %s", got, want)
	}
	if got, want := small.PythonRoot(), root("1", "2"); got != want {
		t.Errorf("root in Python's order %s, want %s", got, want)
	}
	if id, ok := small.Identity(); !ok || !strings.HasPrefix(string(id), "sha256:") {
		t.Errorf("identity %q", id)
	}
}

func TestDirIsTheSameForEveryNumberOfJobs(t *testing.T) {
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("d%d/f%03d", i%7, i)] = strings.Repeat("x", i*i%9000)
	}
	files["big"] = strings.Repeat("0123456789abcdef", 5*readAhead/16) + "tail"
	dir := folder(t, files)
	var want *Manifest
	for _, jobs := range []int{1, 2, 3, 16, 0} {
		for _, method := range []Method{Files, Shards} {
			m, err := Dir(t.Context(), dir, Options{Jobs: jobs, Method: method, ShardSize: 1 << 40})
			check(t, err)
			if want == nil {
				want = m
			}
			for _, r := range want.Resources {
				if method == Shards {
					if r.Size == 0 {
						continue
					}
					r.Name = ShardName(r.Name, 0, r.Size)
				}
				if got, ok := m.Find(r.Name); !ok || string(got.Digest) != string(r.Digest) {
					t.Fatalf("jobs %d, %s: %s differs", jobs, method, r.Name)
				}
			}
		}
	}
	for name, content := range files {
		if r, ok := want.Find(name); !ok || hex.EncodeToString(r.Digest) != fmt.Sprintf("%x", sha256.Sum256([]byte(content))) {
			t.Fatalf("%s has the wrong digest", name)
		}
	}
}

func TestShardsAndHashes(t *testing.T) {
	dir := folder(t, map[string]string{"a": "0123456789", "b:0:3": "xyz", "empty": "", "c": "4444"})
	for _, h := range []Hash{SHA256, BLAKE2b, BLAKE3} {
		m, err := Dir(t.Context(), dir, Options{Method: Shards, ShardSize: 4, Hash: h})
		check(t, err)
		if d := cmp.Diff([]string{"a:0:4", "a:4:8", "a:8:10", "b:0:3:0:3", "c:0:4"}, names(m)); d != "" {
			t.Fatal(d)
		}
		var want []byte
		switch h {
		case SHA256:
			s := sha256.Sum256([]byte("89"))
			want = s[:]
		case BLAKE2b:
			s := blake2b.Sum512([]byte("89"))
			want = s[:]
		case BLAKE3:
			s := blake3.Sum256([]byte("89"))
			want = s[:]
		}
		if got := m.Resources[2].Digest; string(got) != string(want) || len(got) != h.Size() {
			t.Errorf("%s: %x, want %x", h, got, want)
		}
		if _, ok := m.Identity(); ok {
			t.Error("shards have an identity")
		}
	}
}

func TestSymlinksThatAreAllowed(t *testing.T) {
	dir := folder(t, map[string]string{"real/w": "1", "real/sub/x": "2"})
	check(t, os.Symlink("real/w", filepath.Join(dir, "link")))
	check(t, os.Symlink("../real/sub", filepath.Join(dir, "real", "again")))
	m, err := Dir(t.Context(), dir, Options{AllowSymlinks: true})
	check(t, err)
	if d := cmp.Diff([]string{"link", "real/again/x", "real/sub/x", "real/w"}, names(m)); d != "" {
		t.Error(d)
	}
	check(t, m.Recheck(t.Context(), dir))
}

// negative are the folders that cannot be models.
var negative = []struct {
	name  string
	files map[string]string
	make  func(t *testing.T, dir string)
	o     Options
	rules []string // subject before the colon, rule after
}{
	{name: "no files", make: func(t *testing.T, dir string) { check(t, os.Mkdir(filepath.Join(dir, "d"), 0o755)) }, rules: []string{".: folder-empty"}},
	{name: "evidence files only", files: map[string]string{"model.sig": "x", ".gitignore": "x"}, rules: []string{".: folder-empty"}},
	{name: "empty files only, in shards", files: map[string]string{"e": ""}, o: Options{Method: Shards}, rules: []string{".: folder-empty"}},
	{name: "symlink to a file", files: map[string]string{"w": "1"}, make: link("w", "l"), rules: []string{"l: folder-symlink"}},
	{name: "symlink to a folder", files: map[string]string{"d/w": "1"}, make: link("d", "l"), rules: []string{"l: folder-symlink"}},
	{name: "symlink out, allowed", files: map[string]string{"w": "1"}, make: link("../x", "l"), o: Options{AllowSymlinks: true}, rules: []string{"l: folder-escape"}},
	{name: "absolute symlink, allowed", files: map[string]string{"w": "1"}, make: link("/etc/hostname", "l"), o: Options{AllowSymlinks: true}, rules: []string{"l: folder-escape"}},
	{name: "symlink to nothing, allowed", files: map[string]string{"w": "1"}, make: link("none", "l"), o: Options{AllowSymlinks: true}, rules: []string{"l: folder-broken"}},
	{name: "symlink to itself, allowed", files: map[string]string{"w": "1"}, make: link("l", "l"), o: Options{AllowSymlinks: true}, rules: []string{"l: folder-cycle"}},
	{name: "symlink cycle, allowed", files: map[string]string{"d/e/w": "1"}, make: link("../../d", "d/e/l"), o: Options{AllowSymlinks: true}, rules: []string{"d/e/l: folder-cycle"}},
	{name: "symlink to the top, allowed", files: map[string]string{"d/w": "1"}, make: link("..", "d/l"), o: Options{AllowSymlinks: true}, rules: []string{"d/l: folder-cycle"}},
	{name: "fifo", files: map[string]string{"w": "1"}, make: func(t *testing.T, dir string) {
		check(t, syscall.Mkfifo(filepath.Join(dir, "p"), 0o644))
	}, rules: []string{"p: folder-special"}},
	{name: "socket", files: map[string]string{"w": "1"}, make: func(t *testing.T, dir string) {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		check(t, err)
		t.Cleanup(func() { syscall.Close(fd) })
		check(t, os.Chdir(dir)) // the path of a socket may have 108 bytes only
		check(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: "s"}))
	}, rules: []string{"s: folder-special"}},
	{name: "name that is not UTF-8", files: map[string]string{"w": "1", "a\xff": "2"}, rules: []string{"a\xff: folder-name"}},
	{name: "folder that is not UTF-8", files: map[string]string{"w": "1", "a\xff/x": "2"}, rules: []string{"a\xff: folder-name"}},
	{name: "backslash", files: map[string]string{`a\b`: "2"}, rules: []string{`a\b: folder-name`}},
	{name: "control character", files: map[string]string{"a\nb": "2", "w\x1b[2J": "1"}, rules: []string{"a\nb: folder-name", "w\x1b[2J: folder-name"}},
	{name: "4,096 deep", make: deep(4096), rules: []string{"folder-deep"}},
	{name: "ignore .. ", files: map[string]string{"w": "1"}, o: Options{Ignore: []string{"../x"}}, rules: []string{"../x: folder-ignore"}},
	{name: "ignore absolute", files: map[string]string{"w": "1"}, o: Options{Ignore: []string{"/x"}}, rules: []string{"/x: folder-ignore"}},
	{name: "ignore everything", files: map[string]string{"w": "1"}, o: Options{Ignore: []string{"."}}, rules: []string{".: folder-ignore"}},
	{name: "ignore the only file", files: map[string]string{"w": "1"}, o: Options{Ignore: []string{"w"}}, rules: []string{".: folder-empty"}},
	{name: "10 GiB in shards of 1 byte", make: func(t *testing.T, dir string) {
		put(t, dir, "w", "")
		check(t, os.Truncate(filepath.Join(dir, "w"), 10<<30))
	}, o: Options{Method: Shards, ShardSize: 1}, rules: []string{"w: folder-entries"}},
	{name: "everything at once", files: map[string]string{"w": "1", "b\x01": "2"}, make: func(t *testing.T, dir string) {
		link("w", "l")(t, dir)
		check(t, syscall.Mkfifo(filepath.Join(dir, "p"), 0o644))
	}, rules: []string{"b\x01: folder-name", "l: folder-symlink", "p: folder-special"}},
}

func link(to, name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { check(t, os.Symlink(to, filepath.Join(dir, name))) }
}

// deep makes folders inside each other by handle, since the path would be too
// long for one call.
func deep(n int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		root, err := os.OpenRoot(dir)
		check(t, err)
		for range n {
			check(t, root.Mkdir("d", 0o755))
			next, err := root.OpenRoot("d")
			check(t, err)
			check(t, root.Close())
			root = next
		}
		check(t, root.WriteFile("w", []byte("1"), 0o644))
		check(t, root.Close())
	}
}

func TestNegativeMatrix(t *testing.T) {
	for _, c := range negative {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // put back after a case that goes elsewhere
			dir := folder(t, c.files)
			if c.make != nil {
				c.make(t, dir)
			}
			_, err := Dir(t.Context(), dir, c.o)
			var fe *FolderError
			if !errors.As(err, &fe) || !errors.Is(err, ErrFolder) {
				t.Fatalf("got %v, want a FolderError", err)
			}
			var got []string
			for _, p := range fe.Problems {
				if p.Rule == RuleDeep {
					got = append(got, p.Rule)
					continue
				}
				got = append(got, p.Subject+": "+p.Rule)
			}
			if d := cmp.Diff(c.rules, got); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
			t.Logf("%-28s %-44s -> %s", "manifest", c.name, fe.Problems[0].Rule)
		})
	}
}

func TestRecheck(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want string // in the error; "" for none
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"evidence comes", func(t *testing.T, dir string) { put(t, dir, "model.sig", "x") }, ""},
		{"same size", func(t *testing.T, dir string) { put(t, dir, "a", "2") }, `"a": it changed`},
		{"times set back", func(t *testing.T, dir string) {
			info, err := os.Stat(filepath.Join(dir, "a"))
			check(t, err)
			put(t, dir, "a", "2")
			check(t, os.Chtimes(filepath.Join(dir, "a"), info.ModTime(), info.ModTime()))
		}, `"a": it changed`},
		{"replaced", func(t *testing.T, dir string) {
			put(t, dir, "a2", "1")
			check(t, os.Rename(filepath.Join(dir, "a2"), filepath.Join(dir, "a")))
		}, `"a": it changed`},
		{"replaced by a link", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "a")))
			link("b/c", "a")(t, dir)
		}, "symlink"},
		{"new file", func(t *testing.T, dir string) { put(t, dir, "a0", "2") }, `"a0": it came`},
		{"gone", func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, "b/c"))) }, `"b/c": it vanished`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"a": "1", "b/c": "2"})
			m, err := Dir(t.Context(), dir, Options{})
			check(t, err)
			c.do(t, dir)
			err = m.Recheck(t.Context(), dir)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrFolder)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			f, err := m.Open(dir, "a")
			if err == nil {
				f.Close()
			}
			if strings.Contains(c.want, `"a"`) && err == nil {
				t.Error("Open gave a file that is not the one that was hashed")
			}
		})
	}
	m := &Manifest{}
	if err := m.Recheck(t.Context(), t.TempDir()); err == nil {
		t.Error("a manifest without stamps was rechecked")
	}
}

// A file that changes between the walk and the end of the hash is never
// hashed half old, half new.
func TestFileThatChangesWhileItIsRead(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, dir string){
		"grows":      func(t *testing.T, dir string) { put(t, dir, "w", "12") },
		"shrinks":    func(t *testing.T, dir string) { put(t, dir, "w", "") },
		"is another": func(t *testing.T, dir string) { check(t, os.Rename(filepath.Join(dir, "v"), filepath.Join(dir, "w"))) },
		"is a fifo": func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "w")))
			check(t, syscall.Mkfifo(filepath.Join(dir, "w"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"w": "1", "v": "2"})
			root, err := os.OpenRoot(dir)
			check(t, err)
			defer root.Close()
			o, err := Options{}.filled()
			check(t, err)
			entries, err := list(t.Context(), root, o)
			check(t, err)
			do(t, dir)
			if name == "is another" {
				entries = slices.DeleteFunc(entries, func(e entry) bool { return e.name == "v" })
			}
			_, err = read(t.Context(), root, entries, o)
			var fe *FolderError
			if !errors.As(err, &fe) || fe.Problems[0].Rule != RuleChanged {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Dir(ctx, folder(t, map[string]string{"w": strings.Repeat("x", 2*readAhead), "v": "1"}), Options{})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestOnlyAndKeep(t *testing.T) {
	dir := folder(t, map[string]string{"w": "1", "d/x": "2", "d/y": "3", "bom.json": "4", ".git/config": "5"})
	link("nowhere", "broken")(t, dir)
	m, err := Dir(t.Context(), dir, Options{Only: []string{"d/x", "gone", "bom.json"}, Keep: []string{"bom.json"}})
	check(t, err)
	if d := cmp.Diff([]string{"bom.json", "d/x"}, names(m)); d != "" {
		t.Error(d)
	}
	m, err = Dir(t.Context(), dir, Options{Only: []string{"gone"}})
	check(t, err)
	if len(m.Resources) != 0 {
		t.Errorf("found %v", names(m))
	}
}

func FuzzParseShard(f *testing.F) {
	for _, s := range []string{"a:0:4", "a:b:0:4", "a::", ":0:1", "a:01:2", "a:-1:2", "a:+1:2", "a:2:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		file, start, end, err := ParseShard(s)
		if err == nil && (ShardName(file, start, end) != s || start < 0 || end <= start) {
			t.Fatalf("%q became %q %d %d", s, file, start, end)
		}
	})
}

func FuzzCleanIgnore(f *testing.F) {
	for _, s := range []string{"a", "a/", "./a", "../a", "/a", "a/../..", ".", "", "a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean, err := CleanIgnore(s)
		if err != nil {
			return
		}
		if NameFault(clean) != "" || !filepath.IsLocal(clean) {
			t.Fatalf("%q became %q", s, clean)
		}
		if again, err := CleanIgnore(clean); err != nil || again != clean {
			t.Fatalf("%q became %q and then %q, %v", s, clean, again, err)
		}
	})
}

// A store links content that two models share, which moves the change time of
// a file that somebody hashes or has hashed. The bytes then tell.
func TestSharedContent(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "w")
	if err := os.WriteFile(file, bytes.Repeat([]byte("weights"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Dir(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Link(file, link); err != nil {
		t.Fatal(err)
	}
	if err := m.Recheck(t.Context(), dir); err != nil {
		t.Errorf("a new hard link: %v", err)
	}
	if f, err := m.Open(dir, "w"); err != nil {
		t.Errorf("a new hard link: %v", err)
	} else {
		f.Close()
	}
	// The same size and modification time with other bytes is another file.
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("X"), 12345)
		err = errors.Join(err, f.Close(), os.Chtimes(file, info.ModTime(), info.ModTime()))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Recheck(t.Context(), dir); !errors.Is(err, ErrFolder) {
		t.Errorf("other bytes under the old time: %v", err)
	}
	if f, err := m.Open(dir, "w"); err == nil {
		f.Close()
		t.Error("other bytes under the old time are opened")
	}
	// Links that come and go while it is hashed.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				os.Remove(link)
				os.Link(file, link)
			}
		}
	})
	for range 20 {
		if _, err := Dir(t.Context(), dir, Options{}); err != nil && !errors.Is(err, ErrFolder) {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if _, err := Dir(t.Context(), dir, Options{}); err != nil {
		t.Error(err)
	}
}
