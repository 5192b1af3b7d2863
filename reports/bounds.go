package reports

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// What a report may ask a reader to hold. All are far above what Write makes.
const (
	maxFooter   = 64 << 20
	maxElements = 1 << 21   // of lists in the footer
	maxPage     = 256 << 20 // bytes of a page, decompressed
	maxValues   = 1 << 22   // values in a page
	maxRunRows  = 1 << 22   // rows that are not items
)

// checkFooter looks at the file's frame and at the lengths in its footer.
func checkFooter(src io.ReaderAt, size int64) error {
	if size < 12 {
		return fmt.Errorf("%w: %d bytes are too few", ErrNotReport, size)
	}
	var head, tail [8]byte
	if _, err := src.ReadAt(head[:4], 0); err != nil {
		return err
	}
	if _, err := src.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	switch {
	case string(head[:4]) != "PAR1":
		return fmt.Errorf("%w: not a Parquet file", ErrNotReport)
	case string(tail[4:]) != "PAR1":
		return fmt.Errorf("%w: the end is missing (a Parquet file ends with PAR1)", ErrNotReport)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:4]))
	if n > size-12 || n > maxFooter {
		return fmt.Errorf("%w: a footer of %d bytes in a file of %d", ErrNotReport, n, size)
	}
	footer := make([]byte, n)
	if _, err := src.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	w := thriftWalk{footer, maxElements}
	if _, err := w.structure(thriftDepth, false); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	return nil
}

// checkFile holds the file's schema and layout against what Write makes.
func checkFile(f *parquet.File, size int64) error {
	v, ok := f.Lookup(formatKey)
	if !ok {
		return fmt.Errorf("%w: its metadata has no %s", ErrNotReport, formatKey)
	}
	schema := schemas[v]
	if schema == nil {
		return fmt.Errorf("%w: format %q, and this program reads formats up to %d", ErrNotReport, v, Version)
	}
	if f.Schema().String() != schema.String() {
		return fmt.Errorf("%w: its columns are not those of format %s", ErrNotReport, v)
	}
	md := f.Metadata()
	leaves := len(schema.Columns())
	var rows int64
	for g := range md.RowGroups {
		rg := &md.RowGroups[g]
		if rg.NumRows < 1 || rg.NumRows > groupRows {
			return fmt.Errorf("row group %d: %d rows", g, rg.NumRows)
		}
		rows += rg.NumRows
		if len(rg.Columns) != leaves {
			return fmt.Errorf("row group %d: %d columns instead of %d", g, len(rg.Columns), leaves)
		}
		for c := range rg.Columns {
			m := &rg.Columns[c].MetaData
			start := chunkStart(m)
			switch {
			case start < 4 || m.TotalCompressedSize < 0 || m.TotalCompressedSize > size || start > size-m.TotalCompressedSize:
				return fmt.Errorf("row group %d, column %d: %d bytes at %d lie outside the file", g, c, m.TotalCompressedSize, start)
			case m.Codec != format.Zstd:
				return fmt.Errorf("row group %d, column %d: compressed with %s instead of ZSTD", g, c, m.Codec)
			}
		}
	}
	if rows != md.NumRows {
		return fmt.Errorf("%d rows are announced and %d are there", md.NumRows, rows)
	}
	return nil
}

// chunkStart is where the library begins to read a column chunk.
func chunkStart(m *format.ColumnMetaData) int64 {
	if m.DictionaryPageOffset != 0 {
		return m.DictionaryPageOffset
	}
	return m.DataPageOffset
}

// checkGroup checks the pages of a row group's columns before the library
// decodes them; only is nil for all columns.
func checkGroup(src io.ReaderAt, f *parquet.File, g int, only func(column int) bool) error {
	rg := &f.Metadata().RowGroups[g]
	var buf []byte
	for c := range rg.Columns {
		if only != nil && !only(c) {
			continue
		}
		m := &rg.Columns[c].MetaData
		if int64(cap(buf)) < m.TotalCompressedSize {
			buf = make([]byte, m.TotalCompressedSize)
		}
		buf = buf[:m.TotalCompressedSize]
		if _, err := src.ReadAt(buf, chunkStart(m)); err != nil {
			return fmt.Errorf("column %v: %w", m.PathInSchema, err)
		}
		if err := checkPages(buf, shapes[c]); err != nil {
			return fmt.Errorf("column %v: %w", m.PathInSchema, err)
		}
	}
	return nil
}

// shape is what decoding a column depends on: the widths of its levels in bits,
// and whether its values are texts.
type shape struct {
	repetition, definition int
	text                   bool
}

// shapes are those of the newest format's columns, which begin with those of
// the older ones.
var shapes = func() []shape {
	var all []shape
	for _, path := range schema.Columns() {
		leaf, _ := schema.Lookup(path...)
		all = append(all, shape{bits.Len(uint(leaf.MaxRepetitionLevel)), bits.Len(uint(leaf.MaxDefinitionLevel)),
			leaf.Node.Type().Kind() == parquet.ByteArray})
	}
	return all
}()

// Field numbers and values of parquet.thrift.
const (
	pageType, pageRaw, pageStored, pageV1, pageDict, pageV2 = 1, 2, 3, 5, 7, 8

	typeDictionary, typeV2 = 2, 3

	encPlain, encPlainDict, encRLE, encRLEDict = 0, 2, 3, 8
)

// checkPages walks the pages of a column chunk and finds those that would take
// much more memory than they should when they are decoded: by their headers,
// by what they decompress to, and by the lengths of their runs.
func checkPages(b []byte, s shape) error {
	for len(b) > 0 {
		w := thriftWalk{b, 0}
		h, err := w.structure(thriftDepth, true)
		if err != nil {
			return fmt.Errorf("page header: %w", err)
		}
		stored, raw := h.num[pageStored], h.num[pageRaw]
		if stored < 0 || stored > int64(len(w.b)) || raw < 0 || raw > maxPage {
			return fmt.Errorf("page of %d bytes, %d decompressed, where %d are left", stored, raw, len(w.b))
		}
		data := w.b[:stored]
		b = w.b[stored:]
		switch h.num[pageType] {
		case typeDictionary:
			err = checkDictionary(h.sub[pageDict], data, raw, s)
		case typeV2:
			err = checkData(h.sub[pageV2], data, raw, s)
		default:
			err = fmt.Errorf("page of type %d", h.num[pageType])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkDictionary(h fields, data []byte, raw int64, s shape) error {
	if n := h.num[1]; n < 0 || n > maxValues || n > raw {
		return fmt.Errorf("dictionary of %d values in %d bytes", n, raw)
	}
	if e := h.num[2]; e != encPlain && e != encPlainDict {
		return fmt.Errorf("dictionary in encoding %d", e)
	}
	values, err := inflate(data, raw)
	if err != nil {
		return err
	}
	return checkPlain(values, h.num[1], s)
}

// checkPlain counts texts: the library takes their number on trust.
func checkPlain(b []byte, n int64, s shape) error {
	if !s.text {
		return nil
	}
	for i := range n {
		if len(b) < 4 {
			return fmt.Errorf("%d texts are announced and %d are there", n, i)
		}
		size := uint64(binary.LittleEndian.Uint32(b))
		if b = b[4:]; size > uint64(len(b)) {
			return fmt.Errorf("text %d has %d bytes where %d are left", i, size, len(b))
		}
		b = b[size:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes follow the last of %d texts", len(b), n)
	}
	return nil
}

func checkData(h fields, data []byte, raw int64, s shape) error {
	values, nulls, rows := h.num[1], h.num[2], h.num[3]
	def, rep := h.num[5], h.num[6]
	if values < 0 || values > maxValues || nulls < 0 || nulls > values || rows < 0 || rows > values {
		return fmt.Errorf("page of %d values, %d of them null, in %d rows", values, nulls, rows)
	}
	if def < 0 || rep < 0 || def > int64(len(data)) || rep > int64(len(data))-def || def+rep > raw {
		return fmt.Errorf("levels of %d and %d bytes in a page of %d", rep, def, len(data))
	}
	if err := checkRuns(data[:rep], s.repetition, values); err != nil {
		return fmt.Errorf("repetition levels: %w", err)
	}
	if err := checkRuns(data[rep:rep+def], s.definition, values); err != nil {
		return fmt.Errorf("definition levels: %w", err)
	}
	data = data[rep+def:]
	if compressed, ok := h.num[7]; !ok || compressed == 1 {
		var err error
		if data, err = inflate(data, raw-def-rep); err != nil {
			return err
		}
	}
	switch h.num[4] {
	case encPlain:
		return checkPlain(data, values-nulls, s)
	case encRLEDict, encPlainDict:
		if len(data) == 0 {
			return nil
		}
		if data[0] > 32 {
			return fmt.Errorf("indices of %d bits", data[0])
		}
		return checkRuns(data[1:], int(data[0]), values)
	}
	return fmt.Errorf("page in encoding %d", h.num[4])
}

// checkRuns adds up the runs of the hybrid encoding of small numbers
// (Encodings.md, RLE = 3): a few bytes can announce billions of values.
func checkRuns(b []byte, bits int, values int64) error {
	var total uint64
	for len(b) > 0 {
		u, n := binary.Uvarint(b)
		if n <= 0 {
			return errors.New("bad run")
		}
		b = b[n:]
		count, size := u>>1, uint64(bits+7)/8
		if u&1 == 1 {
			// A run of groups of eight; the last may be filled up.
			size = count * uint64(bits)
			if count > maxValues {
				return fmt.Errorf("a run of %d groups", count)
			}
			count *= 8
		}
		if total += count; count > maxValues || total > uint64(values)+8 {
			return fmt.Errorf("runs of more than %d values", values)
		}
		b = b[min(size, uint64(len(b))):]
	}
	return nil
}

var inflater = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage))
})

// inflate decompresses what must become raw bytes, and no more.
func inflate(data []byte, raw int64) ([]byte, error) {
	if raw == 0 && len(data) == 0 {
		return nil, nil
	}
	z, err := inflater()
	if err != nil {
		return nil, err
	}
	out, err := z.DecodeAll(data, make([]byte, 0, min(raw, 32*int64(len(data))+64)))
	if err != nil {
		return nil, err
	}
	if int64(len(out)) != raw {
		return nil, fmt.Errorf("%d bytes are announced and %d are there", raw, len(out))
	}
	return out, nil
}
