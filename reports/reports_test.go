package reports

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

// fill sets every field below v to something random that a report can hold:
// UTF-8 with the characters that cause trouble, numbers of every size, lists
// that may be empty.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		parts := []string{"", "a", "\x00", "\x1b[31m", "\u202e", "é", "🦀", "<script>", "\n", strings.Repeat("x", r.IntN(300))}
		var b strings.Builder
		for range r.IntN(5) {
			b.WriteString(parts[r.IntN(len(parts))])
		}
		v.SetString(b.String())
	case reflect.Int:
		v.SetInt(int64(r.IntN(3)-1) * int64(r.Int32()))
	case reflect.Int64:
		v.SetInt(r.Int64() - r.Int64())
	case reflect.Uint64:
		v.SetUint(r.Uint64())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat([]float64{0, math.Copysign(0, -1), r.NormFloat64(), math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.NaN()}[r.IntN(7)])
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	default:
		panic(v.Kind())
	}
}

func randomReport(seed uint64) (*record.Run, []record.Item) {
	r := rand.New(rand.NewPCG(seed, 1))
	var run record.Run
	fill(r, reflect.ValueOf(&run).Elem())
	run.Verdict.Outcome = []record.Outcome{record.Approve, record.Reject, record.Escalate}[r.IntN(3)]
	run.Meta.Alpha, run.Meta.CalibrationAlpha = r.Float64(), r.Float64()
	items := make([]record.Item, r.IntN(3*batchRows))
	for i := range items {
		fill(r, reflect.ValueOf(&items[i]).Elem())
	}
	return &run, items
}

func collect(t testing.TB, r *Report) []record.Item {
	t.Helper()
	var items []record.Item
	for it, err := range r.Items() {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, it)
	}
	return items
}

func encode(t testing.TB, run *record.Run, items []record.Item) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, run, Items(items)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// NaN differs in its bits from machine to machine but not in its meaning, and
// an empty list is the same as none.
var same = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateEmpty()}

func TestRoundTrip(t *testing.T) {
	err := quick.Check(func(seed uint64) bool {
		run, items := randomReport(seed)
		data := encode(t, run, items)
		r, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Logf("seed %d: %v", seed, err)
			return false
		}
		d := cmp.Diff(run, r.Run(), same) + cmp.Diff(items, collect(t, r), same)
		if r.NumItems() != int64(len(items)) {
			d += fmt.Sprintf("%d items are announced, %d were written", r.NumItems(), len(items))
		}
		if d != "" {
			t.Logf("seed %d: %s", seed, d)
		}
		return d == ""
	}, &quick.Config{MaxCount: 40})
	if err != nil {
		t.Error(err)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	run, items := randomReport(7)
	if a, b := encode(t, run, items), encode(t, run, items); !bytes.Equal(a, b) {
		t.Error("the same run was written as different bytes")
	}
}

func TestEveryFieldHasAColumn(t *testing.T) {
	// A field that is added to the record and forgotten here is lost in every
	// random report, so that TestRoundTrip fails; this names the columns.
	have := map[string]bool{}
	for _, path := range schema.Columns() {
		have[path[0]] = true
	}
	for name := range itemColumns {
		if !have[name] {
			t.Errorf("items read a column %q that the schema does not have", name)
		}
	}
	if n := reflect.TypeFor[record.Item]().NumField(); n != len(itemColumns)-1 {
		t.Errorf("an item has %d fields and %d columns beside kind", n, len(itemColumns)-1)
	}
}

func TestManyRowGroups(t *testing.T) {
	run, _ := randomReport(3)
	const n = groupRows*2 + 17
	var b bytes.Buffer
	err := Write(&b, run, func(yield func(record.Item, error) bool) {
		for i := range n {
			if !yield(record.Item{Probe: "p", ID: fmt.Sprint(i), Effect: record.Float(float64(i))}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	// Two passes, the first one broken off.
	for range r.Items() {
		break
	}
	for i, it := range collect(t, r) {
		if it.ID != fmt.Sprint(i) || *it.Effect != float64(i) {
			t.Fatalf("item %d came back as %+v", i, it)
		}
	}
	if r.NumItems() != n {
		t.Errorf("%d items, want %d", r.NumItems(), n)
	}
}

func TestInvalidUTF8IsReplaced(t *testing.T) {
	run := &record.Run{Verdict: record.Verdict{Outcome: record.Reject, Policy: "a\xffb"},
		Findings: []record.Finding{{ID: "x\xc3", Families: []string{"\xfe"}, Transcript: []record.Exchange{{Request: "\xff"}}}}}
	data := encode(t, run, []record.Item{{ID: "\x80", Candidate: "ok\xff\xffok"}})
	r, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	f := r.Run().Findings[0]
	got := []string{r.Run().Verdict.Policy, f.ID, f.Families[0], f.Transcript[0].Request, collect(t, r)[0].ID, collect(t, r)[0].Candidate}
	if d := cmp.Diff([]string{"a\uFFFDb", "x\uFFFD", "\uFFFD", "\uFFFD", "\uFFFD", "ok\uFFFDok"}, got); d != "" {
		t.Error(d)
	}
}

func TestLongText(t *testing.T) {
	run, _ := randomReport(1)
	long := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	items := make([]record.Item, 80)
	for i := range items {
		items[i] = record.Item{ID: fmt.Sprint(i), Prompt: long[i:], Candidate: long}
	}
	data := encode(t, run, items)
	r, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(items, collect(t, r)); d != "" {
		t.Error("long texts came back changed")
	}
	huge := []record.Item{{ID: "h", Prompt: strings.Repeat("x", maxText+1)}}
	if err := Write(new(bytes.Buffer), run, Items(huge)); err == nil || !strings.Contains(err.Error(), "item 0 (h)") {
		t.Errorf("an item that is too large gave %v", err)
	}
}

func TestCreateLeavesAllOrNothing(t *testing.T) {
	run, items := randomReport(5)
	boom := errors.New("boom")
	failing := func(yield func(record.Item, error) bool) {
		_ = yield(record.Item{ID: "1"}, nil) && yield(record.Item{}, boom)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "report.parquet")
	names := func() (names []string) {
		ents, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ents {
			names = append(names, e.Name())
		}
		return names
	}
	if err := Create(path, run, failing); !errors.Is(err, boom) || !strings.Contains(err.Error(), path) {
		t.Errorf("a stream that fails gave %v", err)
	}
	if n := names(); n != nil {
		t.Errorf("a failed Create left %v", n)
	}
	if err := Create(path, run, Items(items)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Create(path, run, failing); err == nil {
		t.Error("no error")
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) || len(names()) != 1 {
		t.Errorf("a failed Create changed what was there: %v", names())
	}
	if err := Create(filepath.Join(dir, "no", "such", "r.parquet"), run, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that does not exist gave %v", err)
	}
	if err := Create(path, &record.Run{}, nil); err == nil {
		t.Error("a run without a verdict was written")
	}
}

// fullDisk takes so many bytes and then fails as a full disk does.
type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestFullDiskIsAnError(t *testing.T) {
	run, items := randomReport(11)
	size := len(encode(t, run, items))
	for _, room := range []int{0, 4, size / 3, size / 2, size - 9, size - 1} {
		if err := Write(&fullDisk{room}, run, Items(items)); err == nil {
			t.Errorf("room for %d of %d bytes gave no error", room, size)
		}
	}
	if err := Write(&fullDisk{size}, run, Items(items)); err != nil {
		t.Error(err)
	}
}

// Reports of older formats, written by the programs of their time: what they
// hold is read as it was, and what they do not know is absent.
func TestOlderFormats(t *testing.T) {
	wrote, _ := reportstest.Reject()
	for i := range wrote.Tensors {
		wrote.Tensors[i].Leading, wrote.Tensors[i].Tokens = nil, nil
	}
	for name, evidence := range map[string][]record.Evidence{
		"format1": {
			{Kind: "signature", State: "absent", Detail: "no signature lies beside the candidate"},
			{Kind: "digest", State: "valid", Detail: "the candidate's digest is the one that was asked for"},
			{Kind: "sbom", State: "not-asked"},
		},
		"format2": wrote.Evidence,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Open("testdata/" + name + ".parquet")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			run := r.Run()
			if run.Verdict.Outcome != record.Reject || len(run.Verdict.Reasons) != 4 || len(run.Findings) != 11 ||
				len(run.Boxes[1].Checks) != 8 || run.Findings[0].Transcript[0].Condition != "trigger" || run.Meta.Tests != 41 {
				t.Errorf("the run came back as %+v", run.Meta)
			}
			if d := cmp.Diff(evidence, run.Evidence); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(wrote.Tensors, run.Tensors); d != "" {
				t.Error(d)
			}
			items := collect(t, r)
			if len(items) != 40 || items[0].Flip != "lost" || *items[0].Effect != -1 || items[39].ID != "q000039" {
				t.Errorf("%d items came back, the first as %+v", len(items), items[0])
			}
		})
	}
}

// One of format 2 likewise.
func TestFormat2(t *testing.T) {
	r, err := Open("testdata/format2.parquet")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	run := r.Run()
	if run.Meta.Format != 2 || run.Meta.Now == "" || len(run.Lineage) == 0 || len(run.Findings) != 11 || run.Meta.Calibration != "" || len(collect(t, r)) != 40 {
		t.Errorf("the run came back as %+v", run.Meta)
	}
	for _, f := range run.Findings {
		if f.PBank != nil || f.BankN != 0 || f.LowerIsWorse {
			t.Errorf("%s has a bank p-value", f.ID)
		}
	}
}

func TestNotReport(t *testing.T) {
	run, items := randomReport(2)
	good := encode(t, run, items)
	type other struct {
		A int `parquet:"a"`
	}
	var foreign, pretender bytes.Buffer
	if err := parquet.Write(&foreign, []other{{1}, {2}}); err != nil {
		t.Fatal(err)
	}
	if err := parquet.Write(&pretender, []other{{1}}, parquet.KeyValueMetadata("weighbridge.format", "3")); err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(good, []byte("weighbridge.format\x18\x013"), []byte("weighbridge.format\x18\x019"), 1)
	older := bytes.Replace(good, []byte("weighbridge.format\x18\x013"), []byte("weighbridge.format\x18\x011"), 1)
	liar := bytes.Replace(good, []byte("weighbridge.verdict\x18"), []byte("weighbridge.verdicT\x18"), 1)
	for name, data := range map[string][]byte{
		"empty":               nil,
		"text":                []byte(strings.Repeat("hello ", 9)),
		"foreign":             foreign.Bytes(),
		"foreign with format": pretender.Bytes(),
		"newer":               newer,
		"said to be older":    older,
		"metadata disagrees":  liar,
		"head only":           good[:len(good)/2],
		"without last byte":   good[:len(good)-1],
		"tail only":           good[len(good)/2:],
		"footer of 4 GiB":     append(bytes.Clone(good[:len(good)-8]), "\xff\xff\xff\xffPAR1"...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.parquet")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(data, good) {
				t.Fatal("the case changes nothing")
			}
			_, err := Open(path)
			if !errors.Is(err, ErrNotReport) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotReport) {
		t.Errorf("a folder gave %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gave %v", err)
	}
}

// TestDamage changes bytes of a small report, one at a time. Whatever comes
// back is a report or a named error. The footer, which steers the reader, is
// gone through more closely.
func TestDamage(t *testing.T) {
	run, items := randomReport(4)
	good := encode(t, run, items[:1])
	footer := len(good) - 8 - int(binary.LittleEndian.Uint32(good[len(good)-8:]))
	for i := 0; i < len(good); i += 7 {
		if i < footer {
			i = min(i+54, footer)
		}
		if i >= len(good) {
			break
		}
		bad := bytes.Clone(good)
		bad[i] ^= 0x55
		if err := readAll(bad); err != nil && !errors.Is(err, ErrNotReport) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// readAll reads a whole report and gives the first error.
func readAll(data []byte) error {
	r, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, err := range r.Items() {
		if err != nil {
			return err
		}
	}
	return nil
}

// FuzzRead needs -fuzzminimizetime=10x: Go spends a minute on making each input
// of 40 kB smaller otherwise.
func FuzzRead(f *testing.F) {
	for seed := range uint64(3) {
		run, items := randomReport(seed)
		f.Add(encode(f, run, items[:min(len(items), 2)]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := readAll(data); err != nil && !errors.Is(err, ErrNotReport) {
			t.Error(err)
		}
	})
}

func TestConsumerPanicIsNotSwallowed(t *testing.T) {
	run, _ := randomReport(6)
	data := encode(t, run, []record.Item{{ID: "1"}})
	r, err := Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("the panic of a consumer was taken for a bad file")
		}
	}()
	for range iter.Seq2[record.Item, error](r.Items()) {
		panic("mine")
	}
}
