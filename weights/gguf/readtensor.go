package gguf

import (
	"fmt"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/weights/quant"
)

func (d *decoder) tensors(f *File, n int) error {
	f.Tensors = make([]Tensor, 0, n)
	f.index = make(map[string]int, n)
	at := make([]int64, n) // where each entry starts, for errors
	for i := range n {
		at[i] = d.pos
		name, err := d.name(fmt.Sprintf("tensor %d", i), d.lim.NameBytes)
		if err != nil {
			return err
		}
		if j, dup := f.index[name]; dup {
			return d.fail(at[i], fmt.Sprintf("tensor %q", name), "duplicate: tensors %d and %d", j, i)
		}
		f.index[name] = i
		t, err := d.tensor(name, f.Alignment)
		if err != nil {
			return err
		}
		f.Tensors = append(f.Tensors, t)
	}
	f.DataStart = alignUp(d.pos, f.Alignment)
	return d.place(f, at)
}

// tensor reads one entry; Offset is left relative to the data section.
func (d *decoder) tensor(name string, alignment int64) (Tensor, error) {
	item := fmt.Sprintf("tensor %q", name)
	at := d.pos
	dims, err := d.u32(item)
	if err != nil {
		return Tensor{}, err
	}
	if dims < 1 || dims > 4 {
		return Tensor{}, d.fail(at, item, "%d dimensions, 1 to 4 are possible", dims)
	}
	t := Tensor{Name: name, Shape: make([]uint64, dims)}
	outer := uint64(1)
	for i := range t.Shape {
		at := d.pos
		n, err := d.u64(item)
		if err != nil {
			return Tensor{}, err
		}
		if n == 0 {
			return Tensor{}, d.fail(at, item, "dimension %d is 0", i)
		}
		if n > math.MaxInt64 || (i > 0 && n > math.MaxInt64/outer) {
			return Tensor{}, d.fail(at, item, "dimension %d of %d overflows the number of values", i, n)
		}
		t.Shape[i] = n
		if i > 0 {
			outer *= n
		}
	}
	at = d.pos
	id, err := d.u32(item)
	if err != nil {
		return Tensor{}, err
	}
	t.Type = quant.Type(id)
	if !t.Type.Known() {
		return Tensor{}, d.fail(at, item, "unknown tensor type %d", id)
	}
	row, ok := t.Type.RowBytes(t.Shape[0])
	if !ok {
		return Tensor{}, d.fail(at, item, "a row of %d values is no whole number of %s blocks of %d", t.Shape[0], t.Type, t.Type.BlockValues())
	}
	if outer > uint64(math.MaxInt64/row) || outer > uint64(math.MaxInt64)/t.Shape[0] {
		return Tensor{}, d.fail(at, item, "shape %v of %s overflows", t.Shape, t.Type)
	}
	t.Size = row * int64(outer)
	at = d.pos
	off, err := d.u64(item)
	if err != nil {
		return Tensor{}, err
	}
	if off > math.MaxInt64 || off%uint64(alignment) != 0 {
		return Tensor{}, d.fail(at, item, "offset %d is not a multiple of the alignment %d", off, alignment)
	}
	t.Offset = int64(off)
	return t, nil
}

// place makes offsets absolute and proves that the tensors lie inside the file
// and apart from each other.
func (d *decoder) place(f *File, at []int64) error {
	order := make([]int, len(f.Tensors))
	for i := range f.Tensors {
		order[i] = i
		t := &f.Tensors[i]
		if room := f.Size - f.DataStart; t.Size > room || t.Offset > room-t.Size {
			return d.fail(at[i], fmt.Sprintf("tensor %q", t.Name), "data at %d+%d, %d bytes long, ends outside of the file of %d bytes", f.DataStart, t.Offset, t.Size, f.Size)
		}
		t.Offset += f.DataStart
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return int(min(1, max(-1, f.Tensors[a].Offset-f.Tensors[b].Offset)))
	})
	end := f.DataStart
	var prev string
	for _, i := range order {
		t := f.Tensors[i]
		if t.Offset < end {
			return d.fail(at[i], fmt.Sprintf("tensor %q", t.Name), "its data overlap those of tensor %q", prev)
		}
		f.Unclaimed += max(0, t.Offset-alignUp(end, f.Alignment))
		end, prev = t.Offset+t.Size, t.Name
	}
	f.Unclaimed += max(0, f.Size-alignUp(end, f.Alignment))
	return nil
}

func alignUp(n, a int64) int64 { return (n + a - 1) / a * a }
