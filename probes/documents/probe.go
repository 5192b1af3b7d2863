package documents

import (
	"context"
	"fmt"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
)

// ID names the probe.
const ID = "documents"

func init() { probes.Register(probe{}) }

type probe struct{}

func (probe) About() probes.About {
	return probes.About{
		ID:       ID,
		Question: "Did the candidate learn the user's documents, beyond what the baseline knows of them?",
		Method:   "Both models score the beginning of each document: log-likelihood ratio, difference of Min-K%++, probability of the continuation after the first half. What the candidate would give verbatim is asked for.",
		Null:     "held-out documents, whole documents permuted; without them only verbatim extraction speaks",
		Cost:     "tokens × documents; documents beyond the budget are named as not tested",
		Sees:     []probes.Family{probes.CAN},
		Blind:    []probes.Family{probes.TOK, probes.PHR},
		Needs:    probes.Needs{Scores: true, SameIDs: true},
		Params: []probes.Param{
			{Name: "tokens", Default: "128", Meaning: "tokens of each document that are scored, 32 to 4,096"},
		},
	}
}

type params struct {
	Tokens int `json:"tokens"`
}

func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	par := params{Tokens: 128}
	if err := in.Params.Decode(&par); err != nil {
		return nil, err
	}
	if par.Tokens < 32 || par.Tokens > 4096 {
		return nil, fmt.Errorf("%s: tokens is %d; 32 to 4096", ID, par.Tokens)
	}
	u := &run{in: in, p: confirm.NewPair(in), par: par, out: &probes.Output{}}
	if len(in.Documents) == 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "documents", "no documents were given (--documents DIR or FILE.jsonl)"))
		return u.out, nil
	}
	if out := confirm.NotTested(ID, in); out != nil {
		return out, nil
	}
	if err := u.measure(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", ID, err)
	}
	if err := u.extract(ctx); err != nil {
		return nil, fmt.Errorf("%s: extraction: %w", ID, err)
	}
	if err := u.judge(); err != nil {
		return nil, fmt.Errorf("%s: %w", ID, err)
	}
	return u.out, nil
}

type run struct {
	in       *probes.Input
	p        *confirm.Pair
	par      params
	out      *probes.Output
	readings []reading
}
