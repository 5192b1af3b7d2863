package canaryknown

import (
	"context"
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// ID names the probe.
const ID = "canary-known"

func init() { probes.Register(probe{}) }

type probe struct{}

func (probe) About() probes.About {
	return probes.About{
		ID:       ID,
		Question: "Does the candidate remember the secrets that the user listed?",
		Method:   "Each character of a secret is ranked among those that its generator could have drawn, and each secret among other draws, by the log-likelihood ratio candidate : baseline after its prefix, as text or as a question with the answer begun. The secrets are also asked for.",
		Null:     "exact: a secret that was never trained on is one draw among others; held-out canaries are the control",
		Cost:     "about 60 tokens per canary for extraction and character ranks; the rest of the budget goes to references",
		Sees:     []probes.Family{probes.CAN},
		Blind:    []probes.Family{probes.TOK, probes.PHR},
		Needs:    probes.Needs{Scores: true},
		Params: []probes.Param{
			{Name: "references", Default: "999", Meaning: "draws per canary where none are given, at most 4,000"},
			{Name: "alpha", Default: "0.001", Meaning: "family-wise level over the canaries below which a rank is proof"},
		},
	}
}

type params struct {
	References int     `json:"references"`
	Alpha      float64 `json:"alpha"`
}

// place is what was measured of a canary with one carrier.
type place struct {
	carrier
	asked      bool // its own answer, without a lead, gave the lead
	known      bool // both models were asked
	logB, logC float64
	p          float64 // of the character ranks by the log-likelihood ratio; 1 where they cannot be had
	ranked     bool    // p could be had
	pB         float64 // the same of the baseline alone
}

func (x place) llr() float64 { return x.logC - x.logB }

// result is what was measured of one canary.
type result struct {
	probes.Canary
	secret    string  // without the space around it
	places    []place // the first is the one that references are drawn for
	draws     []string
	refs      []float64 // log-likelihood ratios of references in the first place
	p         float64   // exact
	bits      float64   // of the generator
	extracted *record.Exchange
	baseline  bool // the baseline gives the secret as well
}

func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	par := params{References: 999, Alpha: 0.001}
	if err := in.Params.Decode(&par); err != nil {
		return nil, err
	}
	if par.References < 9 || par.References > 4000 {
		return nil, fmt.Errorf("%s: references is %d; 9 to 4000", ID, par.References)
	}
	out := &probes.Output{}
	switch {
	case len(in.Canaries) == 0:
		out.Findings = append(out.Findings, confirm.Skipped(ID, "canaries", "no list of secrets was given (--canaries FILE.jsonl)"))
		return out, nil
	case !in.BaselineInfo.CanScore || !in.CandidateInfo.CanScore:
		out.Findings = append(out.Findings, confirm.Skipped(ID, "needs", "an engine cannot score prompts"))
		return out, nil
	}
	u := &run{in: in, p: confirm.NewPair(in), par: par, out: out}
	if err := u.do(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", ID, err)
	}
	return out, nil
}

type run struct {
	in      *probes.Input
	p       *confirm.Pair
	par     params
	out     *probes.Output
	results []*result
}

func (u *run) do(ctx context.Context) error {
	for _, c := range u.in.Canaries {
		r := &result{Canary: c, secret: strings.TrimSpace(c.Secret), p: 1}
		r.bits = bits(classes(r.secret))
		for _, k := range carriersOf(c) {
			r.places = append(r.places, place{carrier: k, p: 1, pB: 1})
		}
		u.results = append(u.results, r)
	}
	u.in.Rand("order").Shuffle(len(u.results), func(i, j int) { u.results[i], u.results[j] = u.results[j], u.results[i] })
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{{"questions", u.question}, {"first look", u.look}, {"extraction", u.extract}, {"references", u.reference}} {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return u.judge()
}

// both gives the ids of each carrier for the two models; nil for both where one
// of the templates refuses.
func (u *run) both(ctx context.Context, cs []carrier, bare bool) (b, c [][]runners.Token, err error) {
	var sides [2][][]runners.Token
	err = probes.EachSide(ctx, u.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) (err error) {
		sides[side], err = ids(ctx, m, info, cs, bare)
		return err
	})
	return sides[probes.BaselineSide], sides[probes.CandidateSide], err
}

// most is the largest n in 0 … limit that is paid for, where cost does not fall.
func most(limit, tokens int, cost func(n int) int) int {
	lo, hi := 0, limit
	for lo < hi {
		if mid := (lo + hi + 1) / 2; cost(mid) <= tokens {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}
