package reports

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/parquet-go/parquet-go"

	"github.com/weighbridge/weighbridge/record"
)

// Items are read column by column, because assembling rows of all columns
// costs several times as much as the fifteen that items use.

// Items reads the items in the order in which they were written. It may be
// called again for another pass. An error ends the sequence.
func (r *Report) Items() iter.Seq2[record.Item, error] {
	return func(yield func(record.Item, error) bool) {
		for g := r.first; g < len(r.file.RowGroups()); g++ {
			if !r.groupItems(g, yield) {
				return
			}
		}
	}
}

// groupItems yields the items of one row group and reports whether to go on.
func (r *Report) groupItems(g int, yield func(record.Item, error) bool) bool {
	fail := func(err error) bool {
		yield(record.Item{}, fmt.Errorf("%s: items of row group %d: %w", r.name, g, err))
		return false
	}
	b, err := r.openItems(g)
	if err != nil {
		return fail(err)
	}
	defer b.close()
	for left := r.file.RowGroups()[g].NumRows(); left > 0; {
		n := min(batchRows, left)
		if err := b.read(int(n)); err != nil {
			return fail(err)
		}
		// Yielding stays outside the functions that recover: a panic of the
		// consumer is not a fault of the file.
		for i := range b.items[:n] {
			if !yield(b.items[i], nil) {
				return false
			}
		}
		left -= n
	}
	return true
}

// itemBatch reads the items of a row group, some at a time.
type itemBatch struct {
	items   []record.Item
	floats  []float64
	columns []column
	values  []parquet.Value
	seen    map[string]string
}

// column is one leaf column on its way into items.
type column struct {
	name   string
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	set    func(b *itemBatch, i int, v parquet.Value) error
}

var errKind = errors.New("a row that is not an item stands among the items")

// itemColumns are the columns that items use and how they go into one.
var itemColumns = map[string]func(b *itemBatch, i int, v parquet.Value) error{
	"kind": func(_ *itemBatch, _ int, v parquet.Value) error {
		if string(v.ByteArray()) != kindItem {
			return errKind
		}
		return nil
	},
	"probe":     often(func(it *record.Item) *string { return &it.Probe }),
	"task":      often(func(it *record.Item) *string { return &it.Task }),
	"condition": often(func(it *record.Item) *string { return &it.Condition }),
	"flip":      often(func(it *record.Item) *string { return &it.Flip }),
	"id":        stringOf(func(it *record.Item) *string { return &it.ID }),
	"cluster":   stringOf(func(it *record.Item) *string { return &it.Cluster }),
	"prompt":    stringOf(func(it *record.Item) *string { return &it.Prompt }),
	"expected":  stringOf(func(it *record.Item) *string { return &it.Expected }),
	"baseline":  stringOf(func(it *record.Item) *string { return &it.Baseline }),
	"candidate": stringOf(func(it *record.Item) *string { return &it.Candidate }),
	"score_b":   number(0, func(it *record.Item) **float64 { return &it.ScoreB }),
	"score_c":   number(1, func(it *record.Item) **float64 { return &it.ScoreC }),
	"effect":    number(2, func(it *record.Item) **float64 { return &it.Effect }),
}

const itemFloats = 3

func stringOf(field func(*record.Item) *string) func(*itemBatch, int, parquet.Value) error {
	return func(b *itemBatch, i int, v parquet.Value) error {
		*field(&b.items[i]) = string(v.ByteArray())
		return nil
	}
}

// often is text that takes few different values, which then share memory.
func often(field func(*record.Item) *string) func(*itemBatch, int, parquet.Value) error {
	return func(b *itemBatch, i int, v parquet.Value) error {
		s, ok := b.seen[string(v.ByteArray())]
		if !ok {
			if len(b.seen) >= 1<<12 {
				clear(b.seen)
			}
			s = string(v.ByteArray())
			b.seen[s] = s
		}
		*field(&b.items[i]) = s
		return nil
	}
}

func number(slot int, field func(*record.Item) **float64) func(*itemBatch, int, parquet.Value) error {
	return func(b *itemBatch, i int, v parquet.Value) error {
		p := &b.floats[i*itemFloats+slot]
		*p = v.Double()
		*field(&b.items[i]) = p
		return nil
	}
}

func isItemColumn(leaf int) bool { return itemColumns[schema.Columns()[leaf][0]] != nil }

func (r *Report) openItems(g int) (b *itemBatch, err error) {
	defer notReport(&err)
	if err := checkGroup(r.src, r.file, g, isItemColumn); err != nil {
		return nil, err
	}
	b = &itemBatch{values: make([]parquet.Value, 256), items: make([]record.Item, batchRows), seen: map[string]string{}}
	for leaf, chunk := range r.file.RowGroups()[g].ColumnChunks() {
		if name := schema.Columns()[leaf][0]; itemColumns[name] != nil {
			b.columns = append(b.columns, column{name: name, pages: chunk.Pages(), set: itemColumns[name]})
		}
	}
	return b, nil
}

// read fills b.items with the next n items.
func (b *itemBatch) read(n int) (err error) {
	defer notReport(&err)
	clear(b.items)
	// Items that the consumer keeps hold their numbers here.
	b.floats = make([]float64, n*itemFloats)
	for c := range b.columns {
		if err := b.columns[c].read(b, n); err != nil {
			return fmt.Errorf("column %s: %w", b.columns[c].name, err)
		}
	}
	return nil
}

func (c *column) read(b *itemBatch, n int) error {
	for i := 0; i < n; {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("%d values are missing", n-i)
			}
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		got, err := c.values.ReadValues(b.values[:min(len(b.values), n-i)])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for k, v := range b.values[:got] {
			if v.IsNull() {
				continue
			}
			if err := c.set(b, i+k, v); err != nil {
				return err
			}
		}
		if i += got; err != nil || got == 0 {
			parquet.Release(c.page)
			c.page, c.values = nil, nil
		}
	}
	return nil
}

func (b *itemBatch) close() {
	for _, c := range b.columns {
		if c.page != nil {
			parquet.Release(c.page)
		}
		c.pages.Close()
	}
}
