package decide

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/record"
)

var update = flag.Bool("update", false, "write the table of fields anew")

const docPath = "../../docs/policy.md"

// fieldTable is the documentation of every input type.
func fieldTable() string {
	var b strings.Builder
	b.WriteString("| type | fields |\n|---|---|\n")
	for _, t := range []*objectType{runType, findingType, probeType, evidenceType, problemType, linkType, artifactType, boxType, checkType, exchangeType} {
		fmt.Fprintf(&b, "| %s | ", t.name)
		for i, name := range t.names {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "`%s` %s", name, strings.ReplaceAll(t.fields[name].cel.String(), "weighbridge.", ""))
		}
		b.WriteString(" |\n")
	}
	var kinds []string
	for _, k := range record.EvidenceKinds {
		kinds = append(kinds, "`"+string(k)+"`")
	}
	fmt.Fprintf(&b, "\nKinds of evidence: %s. The comments in package `record` say what each field means.\n\n", strings.Join(kinds, ", "))
	return b.String()
}

// The documentation lists every field, and its policy and cases do what they say.
func TestDocumentation(t *testing.T) {
	src, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(src)
	table := regexp.MustCompile(`(?s)(\| type \| fields \|\n.*?package .record. say what each field means\.\n\n?|FIELDS\n)`)
	if *update {
		doc = table.ReplaceAllLiteralString(doc, fieldTable())
		if err := os.WriteFile(docPath, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if table.FindString(doc) != fieldTable() {
		t.Errorf("the table of fields in %s is out of date; run with -update", docPath)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(doc, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of YAML", len(blocks))
	}
	p, err := Parse("policy.md", []byte(blocks[0][1]))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := ParseCases("policy.md", []byte(blocks[1][1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Test(cases) {
		if r.Why != "" {
			t.Errorf("%s: %s", r.Case.Name, r.Why)
		}
	}
}
