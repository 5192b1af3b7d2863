package html

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
)

func TestRowsFollowTheWayOfAToken(t *testing.T) {
	var list []record.Tensor
	for _, kind := range []string{"ffn_down", "zz_new", "attn_output", "ffn_norm", "attn_q", "attn_q_norm", "attn_norm", "ffn_gate_exps"} {
		list = append(list, record.Tensor{Kind: kind, Layer: 1, Relative: 0.1})
	}
	for _, kind := range []string{"output_norm", "token_embd", "output"} {
		list = append(list, record.Tensor{Kind: kind, Layer: -1, Equal: true})
	}
	g := newGrid(list)
	got := [][]string{g.above, g.kinds, g.below}
	want := [][]string{{"token_embd"}, {"attn_norm", "attn_q", "attn_q_norm", "attn_output", "ffn_norm", "ffn_down", "ffn_gate_exps", "zz_new"}, {"output_norm", "output"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// A kind may stand inside and outside of the layers.
	both := heatMap([]record.Tensor{{Kind: "norm", Layer: -1, Relative: 0.5}, {Kind: "norm", Layer: 0, Relative: 0.002}})
	for _, class := range []string{`class="h8"`, `class="h3"`} {
		if !strings.Contains(string(both.Change), class) {
			t.Errorf("no cell of %s in %s", class, both.Change)
		}
	}
}

// The larger change shows where two tensors share a cell, and words say the same.
func TestMapSaysWhatItShows(t *testing.T) {
	h := heatMap([]record.Tensor{
		{Kind: "attn_q", Layer: 0, Relative: 0.02, Changed: 1, Leading: record.Float(0.93), Tokens: []string{" a", " b"}},
		{Kind: "attn_q", Layer: 0, Relative: 0.0001, Changed: 0.5},
		{Kind: "ffn_down", Layer: 1, Relative: 0.05, Changed: 0.25, Tokens: []string{" c"}},
		{Kind: "ffn_down", Layer: 0, Equal: true},
		{Kind: "output", Layer: -1, Relative: 0.4, Changed: 1},
	})
	for _, want := range []string{
		"<title>layer 0, attn_q: 2 % change, 100 % of the values, 93 % of it in one direction</title>", "<title>layer 0, ffn_down: equal</title>",
		"<title>output: 40 % change, 100 % of the values</title>", `class="h5"`, `class="h0"`, `class="h8"`,
	} {
		if !strings.Contains(string(h.Change), want) {
			t.Errorf("the map lacks %s", want)
		}
	}
	if n := strings.Count(string(h.Lead), "<rect"); n != 1 || !strings.Contains(string(h.Lead), `class="k5"`) {
		t.Errorf("%d cells of directions, want the one that is known: %s", n, h.Lead)
	}
	if want := "Changed, by the median of each kind: output by 40 % (1 of 1), ffn_down by 5 % (1 of 2), attn_q by 2 % (1 of 1)."; h.Summary != want {
		t.Errorf("summary %q, want %q", h.Summary, want)
	}
	if d := cmp.Diff([]layerRow{{"0", []string{"2 %", "equal"}}, {"1", []string{"", "5 %"}}}, h.Table); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]layerTokens{{Layer: 0, Listen: []string{" a", " b"}}, {Layer: 1, Feed: []string{" c"}}}, h.Tokens); d != "" {
		t.Error(d)
	}
}

// manyLayers is a large model whose matrices all changed.
func manyLayers(layers int) []record.Tensor {
	list := []record.Tensor{{Name: "token_embd.weight", Kind: "token_embd", Layer: -1, Equal: true}}
	for l := range layers {
		for k, kind := range []string{"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"} {
			list = append(list, record.Tensor{Name: fmt.Sprintf("blk.%d.%s.weight", l, kind), Kind: kind, Layer: l,
				Relative: 0.0005 * float64(1+l*(k+1)), Changed: 0.9, Leading: record.Float(float64(l) / float64(layers))})
		}
	}
	return append(list, record.Tensor{Name: "output_norm.weight", Kind: "output_norm", Layer: -1, Equal: true}, record.Tensor{Name: "output.weight", Kind: "output", Layer: -1, Relative: 0.001})
}

func TestManyLayers(t *testing.T) {
	for layers, most := range map[int]int{80: 170_000, 126: 260_000, 5000: 2 * (heatBytes + 2000)} {
		h := heatMap(manyLayers(layers))
		var width, height int
		if _, err := fmt.Sscanf(string(h.Change), `<svg class="heat" viewBox="-2 -2 %d %d"`, &width, &height); err != nil {
			t.Fatal(err)
		}
		if width > 980 && layers <= 100 {
			t.Errorf("%d layers are %d pixels wide: they fit no screen", layers, width)
		}
		if n := len(h.Change); n > most {
			t.Errorf("%d layers make a map of %d bytes", layers, n)
		}
		cells := strings.Count(string(h.Change), "<rect")
		if cells+h.LeftOut != h.Tensors || layers <= 126 && h.LeftOut > 0 {
			t.Errorf("%d layers: %d cells and %d left out of %d tensors", layers, cells, h.LeftOut, h.Tensors)
		}
		if len(h.Table)+h.TableOut != min(layers, maxLayers) {
			t.Errorf("%d layers: %d rows and %d left out", layers, len(h.Table), h.TableOut)
		}
	}
}

func TestMapOfNothing(t *testing.T) {
	same := heatMap([]record.Tensor{{Kind: "attn_q", Layer: 0, Equal: true}})
	if same.Summary != "No tensor changed." || same.Lead != "" || len(same.Tokens) > 0 {
		t.Errorf("%+v", same)
	}
	if none := heatMap(nil); none.Change != "" || none.Tensors != 0 {
		t.Errorf("%+v", none)
	}
}
