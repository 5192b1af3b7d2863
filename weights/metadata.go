package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

const (
	maxShown      = 400 // bytes of a string
	maxShownArray = 8   // elements of an array
	maxShownElem  = 40  // bytes of a string in an array
)

// MetadataLine is one metadata entry. Value is bounded JSON: a long string is
// cut, an array shows its first 8 elements, control and format characters are
// escaped.
// Digest is over the whole value.
type MetadataLine struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	Len    int    `json:"len"` // elements of an array, bytes of a string, else 1
	Value  string `json:"value"`
	Digest string `json:"sha256"`
}

// MetadataChange is one key that differs; a side that lacks it is nil.
type MetadataChange struct {
	Key       string        `json:"key"`
	Baseline  *MetadataLine `json:"baseline"`
	Candidate *MetadataLine `json:"candidate"`
}

// DiffMetadata lists the keys whose type or value differ, sorted by key. Two
// NaN of the same bits are equal.
func DiffMetadata(baseline, candidate *gguf.Metadata) []MetadataChange {
	out := []MetadataChange{}
	for _, e := range baseline.Entries() {
		v, ok := candidate.Get(e.Key)
		if ok && sameValue(e.Value, v) {
			continue
		}
		c := MetadataChange{Key: e.Key, Baseline: line(e.Key, e.Value)}
		if ok {
			c.Candidate = line(e.Key, v)
		}
		out = append(out, c)
	}
	for _, e := range candidate.Entries() {
		if _, ok := baseline.Get(e.Key); !ok {
			out = append(out, MetadataChange{Key: e.Key, Candidate: line(e.Key, e.Value)})
		}
	}
	slices.SortFunc(out, func(a, b MetadataChange) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func sameValue(a, b gguf.Value) bool {
	return a.Type == b.Type && a.Elem == b.Elem && (reflect.DeepEqual(a.Data, b.Data) || valueDigest(a) == valueDigest(b))
}

func line(key string, v gguf.Value) *MetadataLine {
	n := v.Len()
	if s, ok := v.Data.(string); ok {
		n = len(s)
	}
	d := valueDigest(v)
	return &MetadataLine{Key: key, Type: v.TypeName(), Len: n, Value: show(v), Digest: hex.EncodeToString(d[:])}
}

// valueDigest hashes the type name and the value as GGUF stores it.
func valueDigest(v gguf.Value) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\n", v.TypeName(), v.Len())
	str := func(s string) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	switch d := v.Data.(type) {
	case string:
		str(d)
	case []string:
		for _, s := range d {
			str(s)
		}
	default:
		if err := binary.Write(h, binary.LittleEndian, d); err != nil {
			panic(fmt.Sprintf("weights: metadata value of type %T: %v", d, err)) // the reader makes no other types
		}
	}
	h.Sum(sum[:0])
	return sum
}

// show renders a value as bounded JSON.
func show(v gguf.Value) string {
	if v.Type != gguf.Array {
		return showScalar(v.Data, maxShown)
	}
	elems := reflect.ValueOf(v.Data)
	var b strings.Builder
	b.WriteByte('[')
	for i := range min(elems.Len(), maxShownArray) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(showScalar(elems.Index(i).Interface(), maxShownElem))
	}
	if elems.Len() > maxShownArray {
		b.WriteString(`,"…"`)
	}
	b.WriteByte(']')
	return b.String()
}

func showScalar(d any, limit int) string {
	switch x := d.(type) {
	case string:
		d = cut(x, limit)
	case float32:
		if x-x != 0 {
			d = fmt.Sprint(x)
		}
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			d = fmt.Sprint(x)
		}
	}
	j, err := json.Marshal(d) // escapes control characters and what is no UTF-8
	if err != nil {
		return `"?"` // unreachable: numbers that JSON lacks became strings above
	}
	return escapeInvisible(string(j))
}

// escapeInvisible writes the control and format characters that JSON leaves
// alone, such as DEL, C1 controls and bidirectional overrides, as \u escapes.
func escapeInvisible(j string) string {
	if !strings.ContainsFunc(j, invisible) {
		return j
	}
	var b strings.Builder
	for _, r := range j {
		switch {
		case !invisible(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func invisible(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// cut shortens s to at most limit bytes at a rune's border and makes it UTF-8.
func cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		for i := 0; i < utf8.UTFMax && s != "" && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]); i++ {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
