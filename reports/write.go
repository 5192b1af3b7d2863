package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/record"
)

const (
	// groupRows bounds what the writer holds in memory: a row group stays in
	// buffers until it is full.
	groupRows = 1 << 16
	// groupBytes ends a row group early when its texts are long.
	groupBytes = 64 << 20
	// batchRows and batchBytes bound what is handed to the encoder at a time,
	// and with it the size of a page.
	batchRows  = 1 << 10
	batchBytes = 4 << 20
	// maxText is the most text that one row may hold, in bytes.
	maxText = 64 << 20
)

var schema = parquet.NewSchema("weighbridge", parquet.SchemaOf(row{}))

// Create writes the report of a run to path. items may be nil and is read
// once, in order; an error that it yields ends the writing.
//
// The file appears at path when it is complete and on disk. After an error
// path is as it was before.
func Create(path string, run *record.Run, items iter.Seq2[record.Item, error]) error {
	return durable.Write(path, 0o644, func(w io.Writer) error { return Write(w, run, items) })
}

// Write is [Create] to a writer.
func Write(w io.Writer, run *record.Run, items iter.Seq2[record.Item, error]) error {
	switch run.Verdict.Outcome {
	case record.Approve, record.Reject, record.Escalate:
	default:
		return fmt.Errorf("a report needs a verdict, and %q is none", run.Verdict.Outcome)
	}
	opts := []parquet.WriterOption{
		schema,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}),
		// The library's default names its own build, which would make the bytes
		// depend on how the program was linked.
		parquet.CreatedBy("weighbridge", strconv.Itoa(Version), ""),
		parquet.MaxRowsPerRowGroup(groupRows),
		// Plain text is what every reader can read and what checkPages can bound.
		parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain),
	}
	kvs, err := metadata(run, strconv.Itoa(Version))
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		opts = append(opts, parquet.KeyValueMetadata(kv[0], kv[1]))
	}
	rw := rowWriter{to: parquet.NewGenericWriter[row](w, opts...), batch: make([]row, 0, batchRows)}
	for i, r := range runRows(run) {
		if err := rw.add(r); err != nil {
			return fmt.Errorf("writing row %d (%s): %w", i, r.Kind, err)
		}
	}
	// Items start a row group of their own, so that a reader of the run alone
	// touches as little as possible.
	if err := rw.endGroup(); err != nil {
		return err
	}
	if items == nil {
		items = Items(nil)
	}
	n := 0
	for it, err := range items {
		if err != nil {
			return fmt.Errorf("reading item %d: %w", n, err)
		}
		if err := rw.add(itemRow(&it)); err != nil {
			return fmt.Errorf("writing item %d (%s): %w", n, valid(it.ID), err)
		}
		n++
	}
	if err := rw.flush(); err != nil {
		return err
	}
	return rw.to.Close()
}

// rowWriter hands rows to the encoder in batches of bounded size.
type rowWriter struct {
	to     *parquet.GenericWriter[row]
	batch  []row
	inside int // bytes of text in batch
	group  int // bytes of text in the row group
}

func (w *rowWriter) add(r row) error {
	n := r.textBytes()
	if n > maxText {
		return fmt.Errorf("%d bytes of text, and a report takes %d at most", n, maxText)
	}
	w.batch = append(w.batch, r)
	w.inside += n
	w.group += n
	switch {
	case w.group >= groupBytes:
		return w.endGroup()
	case len(w.batch) == cap(w.batch) || w.inside >= batchBytes:
		return w.flush()
	}
	return nil
}

func (w *rowWriter) flush() error {
	_, err := w.to.Write(w.batch)
	w.batch, w.inside = w.batch[:0], 0
	return err
}

func (w *rowWriter) endGroup() error {
	if err := w.flush(); err != nil {
		return err
	}
	w.group = 0
	return w.to.Flush()
}

// formatKey is the metadata that says which format the file has.
const formatKey = "weighbridge.format"

// metadata is the file's key-value metadata: what a tool that reads footers
// only wants to know. It repeats the verdict row.
func metadata(run *record.Run, format string) ([][2]string, error) {
	m := run.Meta
	m.Suites = validAll(m.Suites)
	for _, s := range []*string{&m.Tool, &m.Level, &m.Plan, &m.Baseline, &m.Candidate, &m.Relation, &m.Why, &m.Model, &m.Environment, &m.Now,
		&m.Calibration, &m.CalibrationSigner, &m.CalibrationEngine} {
		*s = valid(*s) // as in the row; encoding/json replaces otherwise
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("the run's metadata: %w", err)
	}
	kv := [][2]string{
		{formatKey, format},
		{"weighbridge.verdict", string(run.Verdict.Outcome)},
		{"weighbridge.policy", run.Verdict.Policy},
		{"weighbridge.policy.digest", run.Verdict.Digest},
		{"weighbridge.baseline", m.Baseline},
		{"weighbridge.candidate", m.Candidate},
		{"weighbridge.suites", strings.Join(m.Suites, " ")},
		{"weighbridge.seed", strconv.FormatUint(m.Seed, 10)},
		{"weighbridge.tool", m.Tool},
		{"weighbridge.meta", string(meta)},
	}
	if m.Calibration != "" {
		kv = append(kv, [2]string{"weighbridge.calibration", m.Calibration})
	}
	for i := range kv {
		kv[i][1] = valid(kv[i][1])
	}
	return kv, nil
}

// valid makes s UTF-8: Parquet's STRING demands it and readers refuse whole
// files over one bad byte. Every bad byte becomes U+FFFD, as in encoding/json.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Items turns a slice into the stream that [Create] takes.
func Items(items []record.Item) iter.Seq2[record.Item, error] {
	return func(yield func(record.Item, error) bool) {
		for i := range items {
			if !yield(items[i], nil) {
				return
			}
		}
	}
}
