package gguf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/weights/quant"
)

func data(b []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(b); return err }
}

func allTypes() []KV {
	return []KV{
		{"a.u8", V(uint8(200))}, {"a.i8", V(int8(-3))}, {"a.u16", V(uint16(65535))}, {"a.i16", V(int16(-300))},
		{"a.u32", V(uint32(1 << 31))}, {"a.i32", V(int32(-1))}, {"a.f32", V(float32(0.1))}, {"a.bool", V(true)},
		{"a.string", V("héllo\x00w\xff")}, {"a.u64", V(uint64(1 << 63))}, {"a.i64", V(int64(math.MinInt64))}, {"a.f64", V(0.1)},
		{"b.u8", A([]uint8{1, 2})}, {"b.i8", A([]int8{-1})}, {"b.u16", A([]uint16{})}, {"b.i16", A([]int16{5, -5})},
		{"b.u32", A([]uint32{7})}, {"b.i32", A([]int32{-7})}, {"b.f32", A([]float32{1, -0.5})}, {"b.bool", A([]bool{true, false})},
		{"b.string", A([]string{"", "x", "long " + strings.Repeat("y", chunk)})},
		{"b.u64", A([]uint64{9})}, {"b.i64", A([]int64{-9})}, {"b.f64", A([]float64{3})},
	}
}

func build(t testing.TB, meta []KV, tensors ...Source) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, meta, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func f32(name string, n int) Source {
	return Source{name, quant.F32, []uint64{uint64(n)}, data(make([]byte, 4*n))}
}

func parse(b []byte) (*File, error) {
	return Read("x.gguf", bytes.NewReader(b), int64(len(b)), Limits{})
}

func TestRoundTrip(t *testing.T) {
	meta := allTypes()
	q := bytes.Repeat([]byte{1, 2}, 18*6/2)
	raw := build(t, meta, f32("one", 3), Source{"two", quant.Q4_0, []uint64{64, 3}, data(q)})
	f, err := parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(meta, f.Meta.Entries()); diff != "" {
		t.Errorf("metadata (-wrote +read):\n%s", diff)
	}
	two, ok := f.Tensor("two")
	if !ok || two.Cols() != 64 || two.Rows() != 3 || two.RowBytes() != 36 || two.Values() != 192 || f.Unclaimed != 0 {
		t.Errorf("tensor two = %+v, found %v, unclaimed %d", two, ok, f.Unclaimed)
	}
	got, err := io.ReadAll(f.Data(two))
	if err != nil || !bytes.Equal(got, q) {
		t.Errorf("data differ: %v", err)
	}
	one, _ := f.Tensor("one")
	if again := build(t, f.Meta.Entries(), f.Copy(one), f.Copy(two)); !bytes.Equal(raw, again) {
		t.Error("writing what was read gives other bytes")
	}
}

func TestGetters(t *testing.T) {
	m := NewMetadata(allTypes())
	if v, ok := m.Uint("a.u16"); !ok || v != 65535 {
		t.Errorf("Uint(a.u16) = %d, %v", v, ok)
	}
	if _, ok := m.Uint("a.i16"); ok {
		t.Error("Uint accepts a negative value")
	}
	if _, ok := m.Int("a.u64"); ok {
		t.Error("Int accepts 1<<63")
	}
	if v, ok := m.Int("a.i64"); !ok || v != math.MinInt64 {
		t.Errorf("Int(a.i64) = %d, %v", v, ok)
	}
	if _, ok := m.String("a.u8"); ok {
		t.Error("String accepts a uint8")
	}
	if v, ok := m.Strings("b.string"); !ok || len(v) != 3 {
		t.Errorf("Strings = %q, %v", v, ok)
	}
	if v, ok := m.Float("a.f32"); !ok || float32(v) != 0.1 {
		t.Errorf("Float = %v, %v", v, ok)
	}
}

// raw writes header parts by hand, for files that Write would not make.
type raw struct{ encoder }

func newRaw(version uint32, tensors, keys uint64) (*raw, *bytes.Buffer) {
	var b bytes.Buffer
	r := &raw{}
	r.w = bufio.NewWriter(&b)
	r.encoder.raw([]byte(magic))
	r.u32(version)
	r.u64(tensors)
	r.u64(keys)
	return r, &b
}

func (r *raw) tensor(name string, typ uint32, off uint64, shape ...uint64) {
	r.str(name)
	r.u32(uint32(len(shape)))
	for _, d := range shape {
		r.u64(d)
	}
	r.u32(typ)
	r.u64(off)
}

func craft(version uint32, tensors, keys uint64, f func(*raw)) []byte {
	r, b := newRaw(version, tensors, keys)
	f(r)
	if err := r.w.Flush(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestMalformed(t *testing.T) {
	good := build(t, []KV{{"k", V("v")}}, f32("t", 8))
	kv := func(f func(*raw)) []byte { return craft(3, 0, 1, f) }
	tensor := func(f func(*raw)) []byte {
		return craft(3, 1, 0, func(r *raw) { f(r); r.encoder.raw(make([]byte, 256)) })
	}
	tests := []struct {
		name   string
		file   []byte
		offset int64
		want   string // in the message
	}{
		{"empty", nil, 0, "truncated"},
		{"not gguf", []byte("PK\x03\x04 something"), 0, "not a GGUF file"},
		{"version 1", craft(1, 0, 0, func(*raw) {}), 4, "1 is not supported"},
		{"version 4", craft(4, 0, 0, func(*raw) {}), 4, "4 is not supported"},
		{"big endian", craft(3<<24, 0, 0, func(*raw) {}), 4, "big-endian"},
		{"header cut", good[:20], 16, "truncated"},
		{"too many tensors", craft(3, 1<<40, 0, func(*raw) {}), 8, "exceeds the limit"},
		{"tensors that cannot be there", craft(3, 1000, 0, func(*raw) {}), 8, "1000 entries need"},
		{"too many keys", craft(3, 0, math.MaxUint64, func(*raw) {}), 16, "exceeds the limit"},
		{"keys that cannot be there", craft(3, 0, 5000, func(*raw) {}), 16, "5000 entries need"},
		{"key length overflows", kv(func(r *raw) { r.u64(math.MaxUint64); r.u64(0); r.u64(0) }), 24, "exceeds the limit"},
		{"key empty", kv(func(r *raw) { r.str(""); r.u64(0); r.u64(0) }), 24, "empty name"},
		{"key not utf-8", kv(func(r *raw) { r.str("\xff\xfe"); r.u64(0) }), 24, "not UTF-8"},
		{"key with NUL", kv(func(r *raw) { r.str("a\x00b"); r.u64(0) }), 24, "NUL"},
		{"unknown value type", kv(func(r *raw) { r.str("k"); r.u32(13); r.u64(0) }), 33, "unknown value type 13"},
		{"bool of 2", kv(func(r *raw) { r.str("k"); r.u32(uint32(Bool)); r.encoder.raw([]byte{2}) }), 37, "bool with the value 2"},
		{"string of 1 GB", kv(func(r *raw) { r.str("k"); r.u32(uint32(String)); r.u64(1 << 30); r.u64(0) }), 37, "exceeds the limit"},
		{"string past the end", kv(func(r *raw) { r.str("k"); r.u32(uint32(String)); r.u64(100); r.u64(0) }), 45, "truncated"},
		{"array of 1 G elements", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(uint32(Uint8)); r.u64(1 << 30) }), 41, "exceeds the limit"},
		{"array past the end", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(uint32(Float64)); r.u64(1 << 20) }), 49, "truncated"},
		{"array length overflows", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(uint32(Float64)); r.u64(1 << 61) }), 41, "exceeds the limit"},
		{"strings that cannot be there", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(uint32(String)); r.u64(1 << 20) }), 49, "truncated"},
		{"array of arrays", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(9); r.u64(1); r.u64(0) }), 37, "array of arrays"},
		{"array of unknown type", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(99); r.u64(1); r.u64(0) }), 37, "unknown value type 99"},
		{"bool of 7 in an array", kv(func(r *raw) { r.str("k"); r.u32(9); r.u32(7); r.u64(2); r.encoder.raw([]byte{1, 7}) }), 50, "element 1 is a bool"},
		{"element of an array past the end", kv(func(r *raw) {
			r.str("k")
			r.u32(9)
			r.u32(uint32(String))
			r.u64(2)
			r.str("ok")
			r.u64(9)
		}), 67, "element 1"},
		{"duplicate key", craft(3, 0, 2, func(r *raw) {
			for range 2 {
				r.str("dup")
				r.u32(uint32(Uint8))
				r.encoder.raw([]byte{1})
			}
		}), 40, `"dup": duplicate`},
		{"alignment 3", kv(func(r *raw) { r.str("general.alignment"); r.u32(uint32(Uint32)); r.u32(3) }), 57, "power of two"},
		{"alignment 0", kv(func(r *raw) { r.str("general.alignment"); r.u32(uint32(Uint32)); r.u32(0) }), 57, "power of two"},
		{"alignment of 2 GB", kv(func(r *raw) { r.str("general.alignment"); r.u32(uint32(Uint32)); r.u32(1 << 31) }), 57, "power of two"},
		{"alignment is text", kv(func(r *raw) { r.str("general.alignment"); r.u32(uint32(String)); r.str("32") }), 63, "power of two"},
		{"tensor name too long", tensor(func(r *raw) { r.tensor(strings.Repeat("n", 64), 0, 0, 8) }), 24, "exceeds the limit of 63"},
		{"tensor name not utf-8", tensor(func(r *raw) { r.tensor("\xc3", 0, 0, 8) }), 24, "not UTF-8"},
		{"no dimensions", tensor(func(r *raw) { r.tensor("t", 0, 0) }), 33, "0 dimensions"},
		{"five dimensions", tensor(func(r *raw) { r.tensor("t", 0, 0, 1, 1, 1, 1, 1) }), 33, "5 dimensions"},
		{"dimension 0", tensor(func(r *raw) { r.tensor("t", 0, 0, 8, 0) }), 45, "dimension 1 is 0"},
		{"dimension negative", tensor(func(r *raw) { r.tensor("t", 0, 0, 1<<63) }), 37, "overflows"},
		{"dimensions overflow", tensor(func(r *raw) { r.tensor("t", 0, 0, 1, 1<<32, 1<<32) }), 53, "overflows"},
		{"bytes overflow", tensor(func(r *raw) { r.tensor("t", 0, 0, 1<<31, 1<<31) }), 53, "overflows"},
		{"values overflow though bytes do not", tensor(func(r *raw) { r.tensor("t", 16, 0, 1<<32, 1<<31) }), 53, "overflows"},
		{"row bytes overflow", tensor(func(r *raw) { r.tensor("t", 0, 0, 1<<62) }), 45, "whole number"},
		{"unknown tensor type", tensor(func(r *raw) { r.tensor("t", 777, 0, 8) }), 45, "unknown tensor type 777"},
		{"removed tensor type", tensor(func(r *raw) { r.tensor("t", 4, 0, 32) }), 45, "unknown tensor type 4"},
		{"half a block", tensor(func(r *raw) { r.tensor("t", 8, 0, 33) }), 45, "whole number of Q8_0 blocks"},
		{"offset not aligned", tensor(func(r *raw) { r.tensor("t", 0, 8, 8) }), 49, "not a multiple"},
		{"offset negative", tensor(func(r *raw) { r.tensor("t", 0, 1<<63, 8) }), 49, "not a multiple"},
		{"data outside of the file", tensor(func(r *raw) { r.tensor("t", 0, 1<<40, 8) }), 24, "outside of the file"},
		{"data end outside of the file", tensor(func(r *raw) { r.tensor("t", 0, 0, 1<<20) }), 24, "outside of the file"},
		{"offset at the very end", tensor(func(r *raw) { r.tensor("t", 0, math.MaxInt64-31, 8) }), 24, "outside of the file"},
		{"duplicate tensor", craft(3, 2, 0, func(r *raw) {
			r.tensor("t", 0, 0, 8)
			r.tensor("t", 0, 32, 8)
			r.encoder.raw(make([]byte, 256))
		}), 57, `"t": duplicate`},
		{"overlapping tensors", craft(3, 2, 0, func(r *raw) {
			r.tensor("b", 0, 32, 8)
			r.tensor("a", 0, 0, 9)
			r.encoder.raw(make([]byte, 256))
		}), 24, `overlap those of tensor "a"`},
		{"truncated data", good[:len(good)-1], 46, "outside of the file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(tt.file)
			var fe *FormatError
			if !errors.Is(err, ErrFormat) || !errors.As(err, &fe) {
				t.Fatalf("error = %v, want a FormatError", err)
			}
			if fe.Offset != tt.offset || !strings.Contains(err.Error(), tt.want) || fe.File != "x.gguf" || fe.Item == "" {
				t.Errorf("error = %v\nwant one at byte %d with %q", err, tt.offset, tt.want)
			}
		})
	}
}

// endless claims to be a huge file of zeros without holding it.
type endless struct{ head []byte }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(e.head)) {
		copy(p, e.head[off:])
	}
	return len(p), nil
}

// TestMetadataOfOneGigabyte: the file really has the bytes that it claims, so
// only the limits stand between it and the host's memory.
func TestMetadataOfOneGigabyte(t *testing.T) {
	sum := Limits{MetadataBytes: 1 << 20} // the sum of harmless parts counts too
	for name, c := range map[string]struct {
		lim  Limits
		head []byte
	}{
		"one string": {Limits{}, craft(3, 0, 1, func(r *raw) { r.str("k"); r.u32(uint32(String)); r.u64(1 << 30) })},
		"one array":  {Limits{}, craft(3, 0, 1, func(r *raw) { r.str("k"); r.u32(9); r.u32(uint32(Uint64)); r.u64(1 << 27) })},
		"many arrays": {sum, craft(3, 0, 8000, func(r *raw) {
			for i := range 3 {
				r.str(fmt.Sprint("k", i))
				r.u32(9)
				r.u32(uint32(String))
				r.u64(64 << 10)
				r.encoder.raw(make([]byte, 8*64<<10)) // as many empty strings
			}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Read("big", endless{c.head}, 4<<30, c.lim)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "limit") {
				t.Errorf("error = %v, want a limit", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
				t.Errorf("allocated %d bytes", got)
			}
		})
	}
}

// TestLargeVocabulary: the largest published vocabularies pass.
func TestLargeVocabulary(t *testing.T) {
	tokens := make([]string, 262_144)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("▁token%d", i)
	}
	merges := make([]string, 580_000)
	for i := range merges {
		merges[i] = fmt.Sprintf("▁a%d b%d", i, i)
	}
	f, err := parse(build(t, []KV{{"tokenizer.ggml.tokens", A(tokens)}, {"tokenizer.ggml.merges", A(merges)},
		{"tokenizer.ggml.scores", A(make([]float32, len(tokens)))}}))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := f.Meta.Strings("tokenizer.ggml.tokens")
	if len(got) != len(tokens) || got[len(got)-1] != tokens[len(tokens)-1] {
		t.Error("tokens differ")
	}
}

func TestUnclaimed(t *testing.T) {
	b := craft(3, 2, 0, func(r *raw) {
		r.tensor("b", 0, 96, 8)
		r.tensor("a", 0, 0, 3) // 12 bytes, padding to 32, then 64 that nobody owns
		r.pad(32)
		r.encoder.raw(make([]byte, 128+100))
	})
	f, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f.Unclaimed != 64+100 {
		t.Errorf("Unclaimed = %d, want 164", f.Unclaimed)
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := f32("t", 8)
	short := ok
	short.Data = data(make([]byte, 31))
	failing := ok
	failing.Data = func(io.Writer) error { return io.ErrUnexpectedEOF }
	for name, c := range map[string]struct {
		meta    []KV
		tensors []Source
	}{
		"duplicate key":    {[]KV{{"k", V(true)}, {"k", V(true)}}, nil},
		"duplicate tensor": {nil, []Source{ok, ok}},
		"short data":       {nil, []Source{short}},
		"failing data":     {nil, []Source{failing}},
		"type mismatch":    {[]KV{{"k", Value{Type: Uint8, Data: uint32(1)}}}, nil},
		"bad alignment":    {[]KV{{"general.alignment", V(uint32(6))}}, nil},
		"bad shape":        {nil, []Source{{"t", quant.Q8_0, []uint64{31}, data(nil)}}},
	} {
		if err := Write(io.Discard, c.meta, c.tensors); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(build(f, append(allTypes()[:20], KV{"s", A([]string{"a", ""})}), f32("one", 3), Source{"two", quant.Q4_0, []uint64{32, 2}, data(make([]byte, 36))}))
	f.Add(craft(2, 1, 0, func(r *raw) { r.tensor("t", 8, 0, 32); r.encoder.raw(make([]byte, 64)) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		lim := Limits{MetadataBytes: 1 << 20}
		g, err := Read("fuzz", bytes.NewReader(b), int64(len(b)), lim)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error does not match ErrFormat: %v", err)
			}
			return
		}
		for _, x := range g.Tensors {
			if x.Offset < g.DataStart || x.Offset+x.Size > g.Size || x.Offset%g.Alignment != g.DataStart%g.Alignment {
				t.Fatalf("tensor out of place: %+v", x)
			}
			if int64(x.Rows())*int64(x.RowBytes()) != x.Size {
				t.Fatalf("rows do not make the size: %+v", x)
			}
		}
		sources := make([]Source, len(g.Tensors))
		for i, x := range g.Tensors {
			sources[i] = g.Copy(x)
		}
		var out bytes.Buffer
		if err := Write(&out, g.Meta.Entries(), sources); err != nil {
			t.Fatalf("writing back: %v", err)
		}
		h, err := parse(out.Bytes())
		if err != nil {
			t.Fatalf("reading back: %v", err)
		}
		if g.Meta.Len() != h.Meta.Len() || len(g.Tensors) != len(h.Tensors) {
			t.Fatal("entries lost")
		}
	})
}
