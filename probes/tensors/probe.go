package tensors

import (
	"context"
	"fmt"
	"math"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
)

// ID is the probe's name.
const ID = "tensors"

// Params are the settings of the probe. Zero takes the level's default.
type Params struct {
	Values int64 `json:"values"`
	Tokens int   `json:"tokens"`
}

var defaults = map[probes.Level]Params{
	probes.Quick:    {Values: 24 << 20, Tokens: 96},
	probes.Standard: {Values: 96 << 20, Tokens: 192},
	probes.Deep:     {Values: 2 << 30, Tokens: 512},
}

func init() { probes.Register(probe{}) }

type probe struct{}

func (probe) About() probes.About {
	return probes.About{
		ID:       ID,
		Question: "Are the candidate's tensors something else than the baseline's, requantised or trained on?",
		Method: "Takes the comparison of every tensor (bits, requantisation, size and place of the change), the leading singular values of the change where the budget of matrix values reaches, " +
			"and reads the change through the head (tokens it writes) and through the embeddings (tokens it reads).",
		Null:  "Equality, or the rounding error of the candidate's own number format. The lenses have none: they order later searches.",
		Cost:  "no tokens",
		Sees:  []probes.Family{probes.EDT, probes.QNT},
		Blind: []probes.Family{probes.TPL, probes.TKZ, probes.CMP, probes.SYN, probes.SEM, probes.CTX, probes.REF, probes.OVR, probes.DOS, probes.STR, probes.COD, probes.CAN, probes.CAP},
		Needs: probes.Needs{},
		Params: []probes.Param{
			{Name: "values", Default: "24, 96, 2048 Mi", Meaning: "matrix values whose change is decomposed, at quick, standard and deep"},
			{Name: "tokens", Default: "96, 192, 512", Meaning: "tokens that each lens hands to later probes"},
		},
	}
}

// Run implements probes.Probe.
func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	set, err := settings(in)
	if err != nil {
		return nil, err
	}
	c := in.Weights.Comparison
	r := &report{}
	r.relation(c)
	r.presence(c)
	r.numbers(c)
	r.requantised(c)
	if c.Relation.Kind != weights.Derived {
		return &probes.Output{Findings: r.list, Tensors: rows(c, nil, nil)}, nil
	}
	spectra, err := decompose(ctx, in, c, set)
	if err != nil {
		return nil, err
	}
	r.place(c, spectra)
	leads, own, err := r.lenses(ctx, in, spectra, set)
	if err != nil {
		return nil, err
	}
	edited, err := r.tokenRows(ctx, in, set)
	if err != nil {
		return nil, err
	}
	return &probes.Output{Findings: r.list, Tensors: rows(c, spectra, own), Leads: append(edited, leads...)}, nil
}

func settings(in *probes.Input) (Params, error) {
	var set Params
	if err := in.Params.Decode(&set); err != nil {
		return set, fmt.Errorf("%s: %w", ID, err)
	}
	if set.Values < 0 || set.Tokens < 0 {
		return set, fmt.Errorf("%s: parameters values (%d) and tokens (%d) must not be negative", ID, set.Values, set.Tokens)
	}
	d, ok := defaults[in.Level]
	if !ok {
		d = defaults[probes.Standard]
	}
	if set.Values == 0 {
		set.Values = d.Values
	}
	if set.Tokens == 0 {
		set.Tokens = d.Tokens
	}
	return set, nil
}

// rows is one record per compared tensor, in the candidate's file order.
func rows(c *weights.Comparison, spectra map[string]*weights.Spectrum, own map[string][]string) []record.Tensor {
	out := make([]record.Tensor, len(c.Tensors))
	for i, t := range c.Tensors {
		out[i] = record.Tensor{Name: t.Name, Layer: t.Layer, Kind: t.Kind, Equal: t.SameBits, Relative: number(t.Relative), Max: number(t.MaxAbs), Tokens: own[t.Name]}
		if t.Values > 0 {
			out[i].Changed = float64(t.Differing) / float64(t.Values)
		}
		if s := spectra[t.Name]; s != nil {
			out[i].Spectrum = s.Sigma[:min(len(s.Sigma), 8)]
			out[i].Leading = record.Float(energy(s, 1))
		}
	}
	return out
}

func number(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

// moved reports that a tensor holds more than the baseline's values, rounded.
func moved(t *weights.TensorDelta) bool {
	return !t.SameBits && !t.Requant.OK && !t.BytesOnly && t.DeltaNorm > 0
}

func matrix(t *weights.TensorDelta) bool { return len(t.Shape) > 1 && t.Layer >= 0 }
