package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/oci/ocitest"
)

// ociFolder makes a model folder in the working directory, with a key pair.
func ociFolder(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("model/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"model/model.gguf": strings.Repeat("weights", 1000), "model/config.json": "{}", "model/sub/vocab.txt": "v"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"ecparam -name prime256v1 -genkey -noout -out key.pem", "pkey -in key.pem -pubout -out key.pub"} {
		if out, err := exec.Command("openssl", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", line, err, out)
		}
	}
	if got := weighbridge(t, "sign", "model", "--key", "key.pem"); got.code != 0 {
		t.Fatalf("sign: %+v", got)
	}
}

func sameFolders(t *testing.T, a, b string) {
	t.Helper()
	if out, err := exec.Command("diff", "-r", a, b).CombinedOutput(); err != nil {
		t.Errorf("%s and %s differ: %v\n%s", a, b, err, out)
	}
}

var consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")

// The commands of docs/oci.md run as they stand there, with a registry, oras
// and cosign.
func TestDocsOCI(t *testing.T) {
	doc, err := os.ReadFile("../../docs/oci.md")
	if err != nil {
		t.Fatal(err)
	}
	tools := map[string]string{}
	for _, name := range []string{"registry", "oras", "cosign"} {
		path, err := filepath.Abs("../../bin/peers/" + name)
		if err != nil {
			t.Fatal(err)
		}
		tools[name] = testreq.File(t, path, "make peers")
	}
	host := ocitest.Registry(t, tools["registry"])
	ociFolder(t)
	block := consoleBlock.FindSubmatch(doc)
	if block == nil {
		t.Fatal("docs/oci.md shows no commands")
	}
	digest, pushes := "", 0
	for line := range strings.Lines(string(block[1])) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "$ "))
		args := strings.Fields(strings.NewReplacer("localhost:5000", host, "DIGEST", digest).Replace(line))
		if args[0] != "weighbridge" {
			c := exec.CommandContext(t.Context(), tools[args[0]], args[1:]...)
			c.Env = []string{"HOME=" + t.TempDir()}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
			continue
		}
		got := weighbridgeIn(t, t.Context(), nil, args[1:]...)
		if got.code != 0 {
			t.Fatalf("%s: %+v", line, got)
		}
		printed := strings.TrimSpace(got.stdout)
		if digest == "" {
			digest = printed
		}
		if printed != digest {
			t.Errorf("%s prints %s, the first push printed %s", line, printed, digest)
		}
		pushes++
	}
	if pushes != 5 {
		t.Errorf("%d commands of weighbridge ran, want 5", pushes)
	}
	sameFolders(t, "model", "copy")
	sameFolders(t, "model", "again")
}

// push and pull through a layout, with the JSON of both.
func TestPushPull(t *testing.T) {
	ociFolder(t)
	first := weighbridge(t, "push", "model", "oci:layout:v1", "--json")
	if first.code != 0 {
		t.Fatalf("push: %+v", first)
	}
	second := weighbridge(t, "push", "model", "oci:layout:v1", "--json")
	var pushed struct {
		Digest  string
		Layers  int
		Written int
	}
	if err := json.Unmarshal([]byte(second.stdout), &pushed); err != nil {
		t.Fatal(err)
	}
	if pushed.Layers != 3 || pushed.Written != 0 {
		t.Errorf("the second push says %+v", pushed)
	}
	dated := weighbridgeIn(t, t.Context(), map[string]string{"SOURCE_DATE_EPOCH": "1700000000"}, "push", "model", "oci:layout:dated")
	if d := strings.TrimSpace(dated.stdout); dated.code != 0 || d == pushed.Digest {
		t.Errorf("with a date: %+v", dated)
	}
	got := weighbridge(t, "pull", "oci:layout@"+pushed.Digest, "copy", "--json")
	if got.code != 0 {
		t.Fatalf("pull: %+v", got)
	}
	var pulled struct {
		Digest, Kind, Root string
		Evidence           []string
	}
	if err := json.Unmarshal([]byte(got.stdout), &pulled); err != nil {
		t.Fatal(err)
	}
	if pulled.Digest != pushed.Digest || pulled.Kind != "modelpack" || len(pulled.Root) != 64 || !cmp.Equal(pulled.Evidence, []string{"model.sig"}) {
		t.Errorf("pulled %+v", pulled)
	}
	sameFolders(t, "model", "copy")
}

// What a user can mend ends with exit code 2 and one line.
func TestPushPullUsage(t *testing.T) {
	ociFolder(t)
	if got := weighbridge(t, "push", "model", "oci:layout:v1"); got.code != 0 {
		t.Fatalf("push: %+v", got)
	}
	if got := weighbridgeIn(t, t.Context(), map[string]string{"SOURCE_DATE_EPOCH": "1"}, "push", "model", "oci:layout:v2"); got.code != 0 {
		t.Fatalf("push: %+v", got)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no reference":         {[]string{"push", "model"}, "push --help"},
		"bad reference":        {[]string{"push", "model", "NO"}, "write HOST/REPOSITORY:TAG"},
		"push to a digest":     {[]string{"push", "model", "h/a@sha256:" + strings.Repeat("0", 64)}, "name a tag"},
		"no folder":            {[]string{"push", "nothing", "oci:l"}, "nothing"},
		"folder is no layout":  {[]string{"push", "model", "oci:model"}, "not empty"},
		"key is no key":        {[]string{"push", "model", "oci:l", "--key", "key.pub"}, "key.pub"},
		"nobody there":         {[]string{"push", "model", "127.0.0.1:1/a"}, "cannot be reached"},
		"target is full":       {[]string{"pull", "oci:layout:v1", "model"}, "not empty"},
		"several models":       {[]string{"pull", "oci:layout", "x"}, "sha256:"},
		"unknown tag":          {[]string{"pull", "oci:layout:v3", "x"}, `"v1" "v2"`},
		"not a layout":         {[]string{"pull", "oci:model", "x"}, "oci-layout"},
		"larger than allowed":  {[]string{"pull", "oci:layout:v1", "x", "--max-bytes", "10"}, "more than 10 bytes"},
		"negative --max-bytes": {[]string{"pull", "oci:layout:v1", "x", "--max-bytes", "-1"}, "must not be negative"},
	} {
		got := weighbridge(t, tc.args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || strings.Count(got.stderr, "\n") != 1 || got.stdout != "" {
			t.Errorf("%s: %+v, want %q", name, got, tc.want)
		}
		if _, err := os.Stat("x"); err == nil {
			t.Errorf("%s: left a folder behind", name)
		}
	}
	if bad := weighbridgeIn(t, t.Context(), map[string]string{"SOURCE_DATE_EPOCH": "now"}, "push", "model", "oci:l"); bad.code != exitUsage {
		t.Errorf("SOURCE_DATE_EPOCH=now: %+v", bad)
	}
}
