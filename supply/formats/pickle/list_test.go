package pickle

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

func list(t *testing.T, src []byte) (*Listing, error) {
	t.Helper()
	return All(bytes.NewReader(src), 0, int64(len(src)))
}

func names(l *Listing) (out []string) {
	for _, o := range l.Ops {
		out = append(out, strings.TrimSpace(o.Code+" "+o.Name))
	}
	return out
}

// What CPython writes, in every protocol.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	testreq.Need(t, err == nil, "python3")
	const program = `
import pickle, sys, os, collections, datetime, codecs
class Evil:
    def __reduce__(self): return (os.system, ("id",))
class Exec:
    def __reduce__(self): return (eval, ("__import__('os').system('id')",))
class State:
    def __init__(self): self.a = [1, 2.5, None, True, b"x" * 700, "y" * 700, {"k": (1,)}, {3}, frozenset([4])]
class Keyword:
    def __new__(cls, *, a): return object.__new__(cls)
    def __getnewargs_ex__(self): return ((), {"a": 1})
def values(protocol): return {"plain": {"a": [1, 2**70, -1.5], "b": "text", "c": None}, "evil": [1, Evil()], "exec": {"w": Exec()},
  "state": State(), "date": datetime.date(2020, 1, 2), "ordered": collections.OrderedDict(a=1), "new": Keyword(a=1) if protocol > 1 else 0,
  "twice": [Evil(), Evil()]}
for protocol in range(6):
    for what, value in values(protocol).items():
        print(what, protocol, pickle.dumps(value, protocol).hex())
`
	// Helpers of protocols 0 to 2, whose use differs between versions of Python.
	helpers := []string{"builtins.object", "_codecs.encode", "copy_reg._reconstructor", "copy_reg.__newobj_ex__", "copyreg.__newobj_ex__",
		"builtins.set", "builtins.frozenset", "builtins.getattr", "functools.partial"}
	want := map[string][]string{
		"plain": nil, "evil": {"posix.system"}, "exec": {"builtins.eval"}, "date": {"datetime.date"},
		"ordered": {"collections.OrderedDict"}, "twice": {"posix.system"}, "state": {"__main__.State"}, "new": {"__main__.Keyword"},
	}
	out, err := exec.Command(python, "-c", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 6*len(want) {
		t.Fatalf("%d pickles", len(lines))
	}
	for _, l := range lines {
		f := strings.Fields(l)
		t.Run(f[0]+f[1], func(t *testing.T) {
			src, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			got, err := list(t, src)
			if err != nil {
				t.Fatalf("%v; found %v", err, got.Ops)
			}
			var have []string
			for _, name := range got.Imports() {
				if name = strings.Replace(name, "__builtin__.", "builtins.", 1); !slices.Contains(helpers, name) {
					have = append(have, name)
				}
			}
			w := want[f[0]]
			if f[0] == "new" && f[1] < "2" {
				w = nil
			}
			if !slices.Equal(have, w) {
				t.Errorf("imports %q, want %q", have, w)
			}
			if got.End != int64(len(src)) || f[1] > "1" && strconv.Itoa(got.Protocol) != f[1] {
				t.Errorf("ends at %d of %d, protocol %d", got.End, len(src), got.Protocol)
			}
		})
	}
}

// Ways to hide a name, and to break who reads it.
func TestHostile(t *testing.T) {
	u32 := func(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }
	u64 := func(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
	short := func(s string) string { return "\x8c" + string(rune(len(s))) + s }
	for name, tc := range map[string]struct {
		src  string
		want []string
		err  string
	}{
		"global and reduce":             {"cos\nsystem\n(S'id'\ntR.", []string{"GLOBAL os.system", "REDUCE os.system"}, ""},
		"inst":                          {"(S'id'\nios\nsystem\n.", []string{"INST os.system"}, ""},
		"obj":                           {"(cos\nsystem\nS'id'\no.", []string{"GLOBAL os.system", "OBJ os.system"}, ""},
		"newobj":                        {"\x80\x02cos\nsystem\n)\x81.", []string{"GLOBAL os.system", "NEWOBJ os.system"}, ""},
		"newobj_ex":                     {"\x80\x04" + short("os") + short("system") + "\x93)}\x92.", []string{"STACK_GLOBAL os.system", "NEWOBJ_EX os.system"}, ""},
		"build":                         {"ca\nb\n}b.", []string{"GLOBAL a.b", "BUILD a.b"}, ""},
		"names through the memo":        {"\x80\x04" + short("os") + "\x94" + short("system") + "q\x0700h\x00h\x07\x93.", []string{"STACK_GLOBAL os.system"}, ""},
		"names through text memo":       {"S'os'\np5\n0S'system'\np6\n0g5\ng6\n\x93.", []string{"STACK_GLOBAL os.system"}, ""},
		"name duplicated":               {"\x80\x04" + short("os") + "2\x93.", []string{"STACK_GLOBAL os.os"}, ""},
		"name computed":                 {"\x80\x04ca\nb\n)R" + short("x") + "\x93.", []string{"GLOBAL a.b", "REDUCE a.b", "STACK_GLOBAL ?.x"}, ""},
		"name with escapes":             {"cos\x1b[2J\nsy\xffstem\n.", []string{`GLOBAL "os\x1b[2J"."sy\xffstem"`}, ""},
		"name of a megabyte":            {"c" + strings.Repeat("a", 1<<20) + "\nb\n.", []string{"GLOBAL ?.?"}, ""},
		"extension registry":            {"\x80\x02\x82\x01)R.", []string{"EXT1 copyreg extension 1", "REDUCE copyreg extension 1"}, ""},
		"persistent ids":                {"Pabc\nQ.", []string{"PERSID", "BINPERSID"}, ""},
		"called twice in a chain":       {"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR)R.", []string{"GLOBAL builtins.getattr", "GLOBAL os.system", "REDUCE builtins.getattr", "REDUCE"}, ""},
		"pops from the empty stack":     {"0000\x93R.", []string{"STACK_GLOBAL ?.?", "REDUCE"}, ""},
		"truncated after the import":    {"cos\nsystem\n(", []string{"GLOBAL os.system"}, "offset 12"},
		"truncated in a name":           {"cos\nsys", nil, "offset 0"},
		"garbage after the import":      {"cos\nsystem\n\xff", []string{"GLOBAL os.system"}, "0xff is no opcode"},
		"a length of 16 EiB":            {"\x80\x04\x8d" + u64(1<<63) + ".", nil, "ends before STOP"},
		"a length of 4 GiB":             {"\x80\x03X" + u32(1<<32-1) + ".", nil, "ends before STOP"},
		"a frame of 16 EiB":             {"\x80\x04\x95" + u64(1<<63) + "ca\nb\n.", []string{"GLOBAL a.b"}, ""},
		"protocol 6":                    {"\x80\x06.", nil, "protocol 6"},
		"empty":                         {"", nil, "ends before STOP"},
		"marks without end":             {strings.Repeat("(", 1<<20) + "cos\nsystem\n.", []string{"GLOBAL os.system"}, ""},
		"memo without end":              {"N" + strings.Repeat("\x94", 1<<20) + "cos\nsystem\n.", []string{"GLOBAL os.system"}, ""},
		"memo at the largest index":     {"\x80\x04" + short("os") + "r" + u32(1<<32-1) + "0j" + u32(1<<32-1) + short("x") + "\x93.", []string{"STACK_GLOBAL os.x"}, ""},
		"tuples nested deep":            {strings.Repeat("(", 100_000) + strings.Repeat("t", 100_000) + ".", nil, ""},
		"behind a harmless one":         {"N.N.cos\nsystem\n.", nil, ""}, // no protocol and nothing done: not taken for a pickle
		"behind one with a protocol":    {"\x80\x02N.\x80\x02cos\nsystem\n)R.", []string{"GLOBAL os.system", "REDUCE os.system"}, ""},
		"behind, and then tensors":      {"\x80\x02N.\x80\x02ca\nb\n.\x00\x00\x80\x3f", []string{"GLOBAL a.b"}, ""},
		"behind, and cut short":         {"\x80\x02N.\x80\x02ca\nb\n(", []string{"GLOBAL a.b"}, ""},
		"list, dict and set operations": {"\x80\x04](K\x01ea}(K\x01K\x02uK\x01K\x02s\x8f(K\x01\x90(K\x01\x91\x85\x86\x87(dl.", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, []byte(tc.src))
			if diff := cmp.Diff(tc.want, names(got)); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
			if tc.err == "" && err != nil || tc.err != "" && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
		})
	}
}

func TestManyOperations(t *testing.T) {
	got, err := list(t, []byte(strings.Repeat("ca\nb\n0", 5000)+"."))
	if err != nil || len(got.Ops) != MaxOps || got.More != 4000 {
		t.Errorf("%d kept, %d more, %v", len(got.Ops), got.More, err)
	}
}

func FuzzList(f *testing.F) {
	for _, s := range []string{"cos\nsystem\n(S'id'\ntR.", "\x80\x04\x8c\x02os\x94\x8c\x06system\x93(h\x00tR.", "(i\n\n.", "\x80\x02N.\x80\x02N.", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := All(bytes.NewReader(src), 0, int64(len(src)))
		if l == nil || l.End > int64(len(src)) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%+v, %v", l, err)
		}
		for _, o := range l.Ops {
			if o.Offset < 0 || o.Offset >= int64(len(src)) || strings.ContainsAny(o.Name, "\n\x1b") || len(o.Name) > 8*maxText {
				t.Fatalf("operation %+v", o)
			}
		}
		again, _ := All(bytes.NewReader(src), 0, int64(len(src)))
		if diff := cmp.Diff(l, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
