package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const tinyHelper = "../../supply/sbom/testdata/tiny-helper"

// helper copies the model folder of the examples and makes its parent the
// working folder.
func helper(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "tiny-helper"), os.DirFS(tinyHelper)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

var (
	console = regexp.MustCompile("(?s)```console\n(.*?)```")
	sum     = regexp.MustCompile(`(bom\.json: sha256:)[0-9a-f]{64}`)
)

// Every command of docs/sbom.md prints what is shown below it.
func TestDocsSBOM(t *testing.T) {
	doc, err := os.ReadFile("../../docs/sbom.md")
	if err != nil {
		t.Fatal(err)
	}
	helper(t)
	wrong := `{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "file", "name": "w", "hashes": [{"alg": "SHA-256", "content": "1234"}]}]}`
	if err := os.WriteFile("wrong.json", []byte(wrong), 0o644); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range console.FindAllSubmatch(doc, -1) {
		for _, example := range strings.Split("\n"+string(block[1]), "\n$ weighbridge ")[1:] {
			line, want, _ := strings.Cut(example, "\n")
			got := weighbridge(t, strings.Fields(line)...)
			// The digest covers this program's version.
			text := sum.ReplaceAllString(got.stdout+got.stderr, "${1}SUM")
			if strings.TrimSpace(text) != strings.TrimSpace(want) {
				t.Errorf("%s prints\n%s\nnot\n%s", line, text, want)
			}
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d examples ran, want 3", n)
	}
}

func TestSBOM(t *testing.T) {
	helper(t)
	const digest = "b923b890b833f20d136825a055883b67f68b487793c62f8b116264893d30c2d3"
	args := []string{"sbom", "tiny-helper", "--name", "n", "--version", "1", "--author", "A", "--dataset", "example/polite-letters=sha256:" + digest}
	if got := weighbridge(t, args...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	first, err := os.ReadFile("tiny-helper/bom.json")
	if err != nil {
		t.Fatal(err)
	}
	toStdout := weighbridge(t, append(args, "-o", "-")...)
	if toStdout.stdout != string(first) || toStdout.stderr != "" {
		t.Error("-o - prints something else, or the BOM changed because bom.json lies in the folder")
	}
	dated := weighbridgeIn(t, t.Context(), map[string]string{"SOURCE_DATE_EPOCH": "1700000000"}, append(args, "-o", "dated.json")...)
	src, err := os.ReadFile("dated.json")
	if err != nil || dated.code != 0 {
		t.Fatal(dated, err)
	}
	var bom struct {
		Metadata struct {
			Timestamp string `json:"timestamp"`
			Component struct {
				Name, Version string
			} `json:"component"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(src, &bom); err != nil {
		t.Fatal(err)
	}
	if m := bom.Metadata; m.Timestamp != "2023-11-14T22:13:20Z" || m.Component.Name != "n" || m.Component.Version != "1" {
		t.Errorf("got %+v", m)
	}
}

func TestSBOMUsage(t *testing.T) {
	helper(t)
	for name, content := range map[string]string{
		"spdx.json": `{"spdxVersion": "SPDX-2.3"}`, "bom.xml": "<bom/>", "old.json": `{"bomFormat": "CycloneDX", "specVersion": "1.3"}`,
		"esc.json": `{"bomFormat": "CycloneDX", "specVersion": "1.6", "\u001b[31m": 1}`,
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"no folder":       {args: []string{"sbom"}, want: "sbom --help"},
		"not there":       {args: []string{"sbom", "gone"}, want: "gone"},
		"empty folder":    {args: []string{"sbom", "empty"}, want: "no files"},
		"bad digest":      {args: []string{"sbom", "tiny-helper", "--dataset", "a=sha256:12"}, want: "--dataset"},
		"bad algorithm":   {args: []string{"sbom", "tiny-helper", "--base-model", "a=md5:12"}, want: "--base-model"},
		"bad time":        {args: []string{"sbom", "tiny-helper"}, env: "yesterday", want: "SOURCE_DATE_EPOCH"},
		"output nowhere":  {args: []string{"sbom", "tiny-helper", "-o", "no/such/folder/bom.json"}, want: "no/such/folder"},
		"SPDX":            {args: []string{"sbom", "validate", "spdx.json"}, want: "convert it to CycloneDX"},
		"XML":             {args: []string{"sbom", "validate", "bom.xml"}, want: "only JSON is read"},
		"old":             {args: []string{"sbom", "validate", "old.json"}, want: "/specVersion"},
		"terminal escape": {args: []string{"sbom", "validate", "esc.json"}, want: "unknown properties"},
		"nothing there":   {args: []string{"sbom", "validate", "gone.json"}, want: "gone.json"},
	} {
		t.Run(name, func(t *testing.T) {
			got := weighbridgeIn(t, t.Context(), map[string]string{"SOURCE_DATE_EPOCH": tc.env}, tc.args...)
			if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || strings.Contains(got.stderr, "\x1b") {
				t.Errorf("exit code %d, stderr %q; want %d and %q", got.code, got.stderr, exitUsage, tc.want)
			}
			if _, err := os.Stat("tiny-helper/bom.json"); err == nil {
				t.Error("a BOM was written")
			}
		})
	}
}
