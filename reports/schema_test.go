package reports_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

const docPath = "../docs/report-schema.md"

// readers runs SQL in DuckDB and Python with pandas on ./report.parquet.
const readers = `
import json, sys
ask = json.load(sys.stdin)
import duckdb
out = {"columns": [list(r[:2]) for r in duckdb.sql("DESCRIBE SELECT * FROM 'report.parquet'").fetchall()], "sql": []}
for q in ask["sql"]:
    out["sql"].append([[str(v) for v in r] for r in duckdb.sql(q).fetchall()])
saved, sys.stdout = sys.stdout, sys.stderr
for p in ask["python"]:
    exec(p, {})
import pandas as pd
frame = pd.read_parquet("report.parquet")
sys.stdout = saved
out["pandas"] = [len(frame), int((frame["kind"] == "item").sum())]
json.dump(out, sys.stdout)
`

// TestDocumentedSchema reads the file with readers that are not ours and holds
// what they see against the documentation.
func TestDocumentedSchema(t *testing.T) {
	python := testreq.File(t, "../build/venv/bin/python", "make build/venv")
	doc, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	blocks := func(language string) (list []string) {
		for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(doc, -1) {
			list = append(list, string(m[1]))
		}
		return list
	}
	ask, err := json.Marshal(map[string][]string{"sql": blocks("sql"), "python": blocks("python")})
	if err != nil {
		t.Fatal(err)
	}
	if python, err = filepath.Abs(python); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"reject", "hostile"} {
		run, items := reportstest.Reject()
		if name == "hostile" {
			run, items = reportstest.Hostile()
		}
		dir := t.TempDir()
		if err := reports.Create(filepath.Join(dir, "report.parquet"), run, reports.Items(items)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python, "-I", "-c", readers)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(ask), &stderr
		data, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, &stderr)
		}
		var got struct {
			Columns [][2]string
			SQL     [][][]string
			Pandas  [2]int
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		var want [][2]string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]+) \\|").FindAllSubmatch(doc, -1) {
			want = append(want, [2]string{string(m[1]), string(m[2])})
		}
		if d := cmp.Diff(want, got.Columns); d != "" {
			t.Errorf("%s: documented columns and DuckDB's differ: %s", name, d)
		}
		if len(got.SQL) < 9 {
			t.Errorf("%d queries ran", len(got.SQL))
		}
		rows := len(run.Verdict.Reasons) + len(run.Evidence) + len(run.Lineage) + len(run.Artifacts) + len(run.Boxes) + len(run.Probes) + len(run.Findings) + len(run.Tensors) + 1
		for _, e := range run.Evidence {
			rows += len(e.Problems)
		}
		if d := cmp.Diff([2]int{rows + len(items), len(items)}, got.Pandas); d != "" {
			t.Errorf("%s: rows and items in pandas: %s", name, d)
		}
		for i, r := range got.SQL {
			if len(r) == 0 {
				t.Errorf("%s: this query finds nothing:\n%s", name, blocks("sql")[i])
			}
		}
		if name == "reject" {
			if d := cmp.Diff([][]string{{"reject"}}, got.SQL[0]); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{"benchmark", "arithmetic", "60", "20", "0", "-0.3333"}, got.SQL[4][0]); d != "" {
				t.Error(d)
			}
		}
	}
}

func TestDocumentationNamesTheMetadata(t *testing.T) {
	run, _ := reportstest.Reject()
	var b bytes.Buffer
	if err := reports.Write(&b, run, nil); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range f.Metadata().KeyValueMetadata {
		if !strings.Contains(string(doc), "`"+kv.Key+"`") {
			t.Errorf("%s does not name %s", docPath, kv.Key)
		}
	}
}
