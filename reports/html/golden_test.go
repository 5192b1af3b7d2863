package html

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var runs = map[string]func() (*record.Run, []record.Item){
	"reject": reportstest.Reject, "escalate": reportstest.Escalate, "approve": reportstest.Approve, "hostile": reportstest.Hostile,
}

func render(t testing.TB, run *record.Run, items []record.Item) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, run, reportstest.All(items)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"reject", "escalate", "approve"} {
		t.Run(name, func(t *testing.T) {
			got := renderRun(t, name)
			path := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				if err := os.WriteFile(path+".got", got, 0o644); err != nil {
					t.Error(err)
				}
				t.Errorf("the page differs from %s; compare it with %s.got, and run with -update if it should", path, path)
			}
		})
	}
}

func renderRun(t testing.TB, name string) []byte {
	t.Helper()
	run, items := runs[name]()
	return render(t, run, items)
}
