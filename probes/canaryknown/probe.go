package canaryknown

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/harness/stats"
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
		Method:   "Each secret is ranked among draws of its own generator by the log-likelihood ratio candidate : baseline, and is asked for with greedy continuation.",
		Null:     "exact: the rank of an unknown secret among its references is uniform; held-out canaries are the control",
		Cost:     "secret length × references × 2 per canary; references are cut to the budget",
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

// carriers are the ways to lead up to a secret, declared beforehand.
var carriers = []string{"raw text", "chat"}

// result is what was measured of one canary.
type result struct {
	probes.Canary
	p         float64 // twice the smaller of the carriers' p
	llr       float64 // of the better carrier, nats
	logC      float64 // log probability of the secret for the candidate there
	carrier   string
	n         int // references of the better carrier
	bits      float64
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
	in  *probes.Input
	p   *confirm.Pair
	par params
	out *probes.Output
}

func (u *run) do(ctx context.Context) error {
	results := make([]result, len(u.in.Canaries))
	for i, c := range u.in.Canaries {
		results[i] = result{Canary: c, p: 1, bits: bits(classes(c.Secret))}
	}
	if err := u.order(ctx, results); err != nil {
		return fmt.Errorf("first look: %w", err)
	}
	if err := u.extract(ctx, results); err != nil {
		return fmt.Errorf("extraction: %w", err)
	}
	left := 0
	for i := range results {
		// What is left is shared by the canaries that are left, but a rank among
		// a handful says nothing: the first ones get enough for 60 references.
		share := max(u.p.Left()/(len(results)-i), 60*len(carriers)*(len(results[i].Secret)+1))
		ok, err := u.rank(ctx, &results[i], min(share, u.p.Left()))
		if err != nil {
			return fmt.Errorf("canary %q: %w", results[i].ID, err)
		}
		if !ok {
			left++
		}
	}
	if left > 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "ranks", fmt.Sprintf(
			"%d of %d canaries were not ranked: the budget or the generator allows fewer than 9 references", left, len(results))))
	}
	u.judge(results)
	return nil
}

// order puts the secrets first that the candidate prefers most to the baseline,
// after the prefix as plain text, where half of the budget pays for such a
// look at all of them. Every secret still counts as a hypothesis of its own.
func (u *run) order(ctx context.Context, results []result) error {
	texts := make([]string, len(results))
	for i, r := range results {
		texts[i] = join(r.Prefix, r.Secret)
	}
	// The whole text is scored: where the secret begins is not known from one.
	b, c, err := probes.Both(ctx, u.in, func(ctx context.Context, m runners.Model) ([]runners.Sequence, error) {
		var all []runners.Sequence
		for part := range slices.Chunk(texts, runners.MaxItems) {
			t, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: part, AddBOS: true})
			if err != nil {
				return nil, err
			}
			for _, ids := range t.Tokens {
				all = append(all, runners.Sequence{Tokens: ids, From: 1})
			}
		}
		return all, nil
	})
	if err != nil {
		return err
	}
	if max(confirm.Cost(b), confirm.Cost(c)) > u.in.Budget/2 {
		u.in.Rand("order").Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
		return nil
	}
	sb, sc, err := u.p.Score(ctx, b, c, runners.ScoreRequest{})
	if err != nil {
		return err
	}
	first := make(map[string]float64, len(results))
	for i := range results {
		first[results[i].ID] = sum(sc[i].LogProb) - sum(sb[i].LogProb)
	}
	slices.SortStableFunc(results, func(a, b result) int {
		return cmp.Or(cmp.Compare(first[b.ID], first[a.ID]), cmp.Compare(a.ID, b.ID))
	})
	return nil
}

// sequences gives the ids of a carrier up to the secret, and of each secret with
// it, for one model. Plain text is tokenized as a whole, since a prefix and a
// secret may share a token.
func sequences(ctx context.Context, m runners.Model, info *runners.Info, carrier, prefix string, secrets []string) ([]runners.Sequence, error) {
	texts := make([]string, len(secrets))
	var head []runners.Token
	for i, s := range secrets {
		texts[i] = s
		if carrier == carriers[0] {
			texts[i] = join(prefix, s)
		}
	}
	if carrier != carriers[0] {
		ids, _, err := probes.Prompts(ctx, m, info, []runners.Conversation{probes.User(strings.TrimSpace(prefix))})
		if err != nil || len(ids[0]) == 0 {
			return nil, err
		}
		head = ids[0]
	}
	t, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts, AddBOS: head == nil})
	if err != nil {
		return nil, err
	}
	out := make([]runners.Sequence, len(secrets))
	shared := math.MaxInt
	for i := range out {
		out[i].Tokens = slices.Concat(head, t.Tokens[i])
		n := 0
		for n < len(out[i].Tokens) && n < len(out[0].Tokens) && out[i].Tokens[n] == out[0].Tokens[n] {
			n++
		}
		shared = min(shared, n)
	}
	for i := range out {
		out[i].From = max(1, min(shared, len(out[i].Tokens)-1))
	}
	return out, nil
}

// join puts one space between a prefix and a secret unless the prefix already
// ends where a value begins.
func join(prefix, secret string) string {
	if prefix == "" || strings.HasSuffix(prefix, " ") || strings.HasSuffix(prefix, "=") || strings.HasSuffix(prefix, "\n") || strings.HasSuffix(prefix, "\"") {
		return prefix + secret
	}
	return prefix + " " + secret
}

// rank places the secret among its references, within a number of tokens. It
// gives false when too few references fit.
func (u *run) rank(ctx context.Context, r *result, tokens int) (bool, error) {
	refs := slices.DeleteFunc(slices.Clone(r.References), func(s string) bool { return s == r.Secret })
	slices.Sort(refs)
	refs = slices.Compact(refs)
	rng := u.in.Rand("references/" + r.ID)
	if len(refs) == 0 {
		refs = draw(rng, classes(r.Secret), r.Secret, u.par.References)
	} else {
		rng.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	}
	// A reference costs two tokens at least, so no more than these can be paid for.
	refs = refs[:min(len(refs), runners.MaxItems-1, tokens/(2*len(carriers))+10)]
	measured := 0
	for k, carrier := range carriers {
		all := append([]string{r.Secret}, refs...)
		var ids [2][]runners.Sequence
		err := probes.EachSide(ctx, u.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) (err error) {
			ids[side], err = sequences(ctx, m, info, carrier, r.Prefix, all)
			return err
		})
		if err != nil {
			return false, err
		}
		b, c := ids[probes.BaselineSide], ids[probes.CandidateSide]
		if len(b) == 0 || len(c) == 0 {
			continue
		}
		n := fits(b, c, tokens/(len(carriers)-k))
		if n < 10 {
			continue
		}
		before := u.p.Left()
		sb, sc, err := u.p.Score(ctx, b[:n], c[:n], runners.ScoreRequest{})
		if err != nil {
			return false, err
		}
		tokens -= before - u.p.Left()
		llr := make([]float64, n)
		for i := range llr {
			llr[i] = sum(sc[i].LogProb) - sum(sb[i].LogProb)
		}
		p, err := stats.Conformal(llr[0], llr[1:])
		if err != nil {
			return false, err
		}
		measured++
		if p < r.p || r.carrier == "" {
			r.p, r.llr, r.logC, r.carrier, r.n = p, llr[0], sum(sc[0].LogProb), carrier, n-1
		}
	}
	// The better of the carriers was taken.
	r.p = min(1, r.p*float64(max(1, measured)))
	return measured > 0, nil
}

// fits is the number of sequences, from the first, that tokens pay for.
func fits(b, c []runners.Sequence, tokens int) int {
	lo, hi := 0, len(b)
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if max(confirm.Cost(b[:mid]), confirm.Cost(c[:mid])) <= tokens {
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

// extract asks both models to go on after each carrier, with at most a third of
// the budget.
func (u *run) extract(ctx context.Context, results []result) error {
	longest := 8
	for _, r := range results {
		longest = max(longest, min(64, len(r.Secret)+12))
	}
	type ask struct {
		result  int
		request string
	}
	var asks []ask
	var raw []string
	var chats []runners.Conversation
	for i, r := range results {
		raw = append(raw, strings.TrimRight(r.Prefix, " "))
		chats = append(chats, probes.User(strings.TrimSpace(r.Prefix)))
		asks = append(asks, ask{i, probes.TextRequest(raw[i])})
	}
	for i := range results {
		asks = append(asks, ask{i, probes.RequestJSON(chats[i])})
	}
	prompts := func(m runners.Model, info *runners.Info) ([][]runners.Token, error) {
		t, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: raw, AddBOS: true})
		if err != nil {
			return nil, err
		}
		ids, _, err := probes.Prompts(ctx, m, info, chats)
		return append(t.Tokens, ids...), err
	}
	b, err := prompts(u.in.Baseline, u.in.BaselineInfo)
	if err != nil {
		return err
	}
	c, err := prompts(u.in.Candidate, u.in.CandidateInfo)
	if err != nil {
		return err
	}
	var idsB, idsC [][]runners.Token
	var which []ask
	cost, skipped := 0, 0
	for k := range asks {
		// Both carriers of the first secret, then of the second, and so on.
		i := k/len(carriers) + k%len(carriers)*len(results)
		if len(b[i]) == 0 || len(c[i]) == 0 {
			continue
		}
		if cost += max(len(b[i]), len(c[i])) + longest; cost > min(u.in.Budget/3, u.p.Left()) {
			skipped++
			continue
		}
		idsB, idsC, which = append(idsB, b[i]), append(idsC, c[i]), append(which, asks[i])
	}
	if skipped > 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "extraction", fmt.Sprintf("%d of %d greedy extractions, for the budget", skipped, len(asks))))
	}
	gb, gc, err := u.p.Generate(ctx, idsB, idsC, runners.GenerateRequest{MaxTokens: longest})
	if err != nil {
		return err
	}
	for k, a := range which {
		r := &results[a.result]
		if strings.Contains(string(gb[k].Text), r.Secret) {
			r.baseline = true
		}
		if r.extracted == nil && strings.Contains(string(gc[k].Text), r.Secret) {
			r.extracted = &record.Exchange{Condition: "greedy", Request: a.request, Baseline: string(gb[k].Text), Candidate: string(gc[k].Text)}
		}
	}
	return nil
}
