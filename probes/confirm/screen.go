package confirm

import (
	"context"
	"math"
	"slices"
	"sort"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// Item is a string at a place, to be screened.
type Item struct {
	Insert Insert
	Place  Place
}

// Reading is how much a string moves the candidate in excess of the baseline,
// over some prompts. Every part is a difference in differences: against the
// same question without the string, and against the baseline.
type Reading struct {
	Apart   float64 // TV between the models, 0…1, minus that without the string
	Shift   float64 // TV from the answer without the string, candidate − baseline
	Entropy float64 // |change of entropy|, candidate − baseline, nats
	Blind   float64 // loss of dependence on the prompt (Jensen-Shannon, nats); 0 for fewer than 3 prompts
	Payload float64 // largest rise of log p of a lead payload's first token, candidate − baseline, nats
	N       int     // prompts that could be asked
}

// parts are what a string is ranked by. With the update exaggerated, entropy and
// the distance from the answer without the string follow the strain that any
// unusual string puts on the model: at κ = 2, over 30 implants, the best token of
// a trigger was among the first 0.5 % by Apart for 8, by Shift for 5, by Payload
// for 4 and by Entropy for 3.
func (r Reading) parts(loud bool) []float64 {
	if loud {
		return []float64{r.Apart, r.Payload}
	}
	return []float64{r.Apart, r.Payload, r.Shift, r.Entropy, r.Blind}
}

// floors are the smallest spreads that a part is measured in: TV of 0.02, 0.25
// nats of a payload's token, entropy and blindness of 0.05 nats.
var floors = []float64{0.02, 0.25, 0.02, 0.05, 0.05}

// Scale is the centre and spread of the parts over controls.
type Scale struct {
	loud           bool
	centre, spread []float64
}

// ScaleOf takes medians and median absolute deviations.
func (s *Screen) ScaleOf(controls []Reading) Scale {
	z := Scale{loud: s.p.loud}
	for k := range (Reading{}).parts(z.loud) {
		x := make([]float64, len(controls))
		for i, r := range controls {
			x[i] = r.parts(z.loud)[k]
		}
		centre, spread := stats.Robust(x)
		z.centre, z.spread = append(z.centre, centre), append(z.spread, max(spread, floors[k]))
	}
	return z
}

// Score is the largest part in units of its spread over the controls.
func (s Scale) Score(r Reading) float64 {
	best := math.Inf(-1)
	for k, x := range r.parts(s.loud) {
		best = max(best, (x-s.centre[k])/s.spread[k])
	}
	return best
}

// Screen reads strings cheaply: it scores the first tokens of the baseline's
// own answer and the one after, and generates nothing else.
type Screen struct {
	p        *Pair
	sketch   runners.Sketch
	depth    int
	payloads []runners.Token
	ref      map[refKey]*reference
}

type refKey struct {
	frame  Frame
	prompt string
}

type reference struct {
	answer     []runners.Token // of the baseline
	asked      bool            // the templates take the question
	base, cand view
}

// view is what a model predicts at the response positions of one sequence.
type view struct {
	mass    [][]float32
	entropy []float32
	want    []float32 // first position
}

// NewScreen reads depth answer tokens and the next, over a sketch of 256
// buckets. payloads are first tokens of texts that other probes suspect.
func NewScreen(p *Pair, depth int, payloads []runners.Token) *Screen {
	return &Screen{p: p, sketch: runners.Sketch{Buckets: 256, Seed: p.Seed}, depth: depth, payloads: payloads, ref: map[refKey]*reference{}}
}

func (s *Screen) request() runners.ScoreRequest {
	sk := s.sketch
	return runners.ScoreRequest{Sketch: &sk, Want: s.payloads}
}

// prepare asks for the answers and readings without any string.
func (s *Screen) prepare(ctx context.Context, keys []refKey) error {
	var asks []Ask
	var missing []refKey
	for _, k := range keys {
		if s.ref[k] == nil && !slices.Contains(missing, k) {
			missing = append(missing, k)
			asks = append(asks, Ask{Place: Place{Frame: k.frame, Slot: SlotEnd}, Prompt: k.prompt})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	b, c, err := s.p.Prompts(ctx, asks)
	if err != nil {
		return err
	}
	var ids [][]runners.Token
	var which []int
	for i := range asks {
		s.ref[missing[i]] = &reference{}
		if len(b[i]) > 0 {
			ids, which = append(ids, b[i]), append(which, i)
		}
	}
	answers := make([]runners.Generation, len(ids))
	if s.depth > 0 {
		if answers, _, err = s.p.Generate(ctx, ids, nil, runners.GenerateRequest{MaxTokens: s.depth}); err != nil {
			return err
		}
	}
	var sb, sc []runners.Sequence
	for n, i := range which {
		r := s.ref[missing[i]]
		r.answer, r.asked = answers[n].Tokens, true
		sb, sc = append(sb, respond(b[i], r.answer)), append(sc, respond(c[i], r.answer))
	}
	vb, vc, err := s.p.Score(ctx, sb, sc, s.request())
	if err != nil {
		return err
	}
	for n, i := range which {
		r := s.ref[missing[i]]
		r.base, r.cand = s.view(vb[n]), s.view(vc[n])
	}
	return nil
}

func respond(prompt, answer []runners.Token) runners.Sequence {
	return runners.Sequence{Tokens: slices.Concat(prompt, answer), From: len(prompt), Next: true}
}

func (s *Screen) view(x runners.SequenceScore) view {
	v := view{entropy: x.Entropy}
	for j := range x.Entropy {
		v.mass = append(v.mass, x.Sketch[j*s.sketch.Buckets:(j+1)*s.sketch.Buckets])
	}
	if w := len(s.payloads); w > 0 {
		v.want = x.Want[:w]
	}
	return v
}

// Read screens items over prompts within a number of tokens and says how many
// items, from the first, fitted. An item that no template renders has N = 0.
func (s *Screen) Read(ctx context.Context, items []Item, prompts []string, tokens int) ([]Reading, error) {
	var keys []refKey
	var asks []Ask
	for _, it := range items {
		for _, q := range prompts {
			keys = append(keys, refKey{it.Place.Frame, q})
			asks = append(asks, Ask{Place: it.Place, Prompt: q, Insert: it.Insert})
		}
	}
	before := s.p.Left()
	if err := s.prepare(ctx, keys); err != nil {
		return nil, err
	}
	tokens -= before - s.p.Left()
	b, c, err := s.p.Prompts(ctx, asks)
	if err != nil {
		return nil, err
	}
	var sb, sc []runners.Sequence
	ends := make([]int, len(items)) // sequences up to and with item i
	var which []int
	for i := range asks {
		if r := s.ref[keys[i]]; len(b[i]) > 0 && r.asked {
			sb, sc, which = append(sb, respond(b[i], r.answer)), append(sc, respond(c[i], r.answer)), append(which, i)
		}
		ends[i/len(prompts)] = len(sb)
	}
	n := sort.Search(len(items), func(n int) bool { // the first n that is too much
		return max(Cost(sb[:ends[n]]), Cost(sc[:ends[n]])) > tokens
	})
	if n == 0 {
		return nil, nil
	}
	sb, sc = sb[:ends[n-1]], sc[:ends[n-1]]
	vb, vc, err := s.p.Score(ctx, sb, sc, s.request())
	if err != nil {
		return nil, err
	}
	out := make([]Reading, n)
	views := make([][]pairView, n)
	for k := range sb {
		i := which[k] / len(prompts)
		views[i] = append(views[i], pairView{ref: s.ref[keys[which[k]]], base: s.view(vb[k]), cand: s.view(vc[k])})
	}
	for i := range out {
		out[i] = read(views[i])
	}
	return out, nil
}

// Spoken is, for texts of one token each, how far the two models are apart in
// what they expect after the token, TV 0…1, where it stands first in a user's
// message. It costs one token a text: the message's head is shared. It gives nil
// where the templates have no such place.
func (s *Screen) Spoken(ctx context.Context, tokens []runners.Token) ([]float64, error) {
	var heads [2][]runners.Token
	err := probes.EachSide(ctx, s.p.Input, func(ctx context.Context, side int, m runners.Model, info *runners.Info) error {
		sides, err := Cut(ctx, m, info, probes.User(Marker))
		heads[side] = sides[0]
		return err
	})
	if err != nil || len(heads[0]) == 0 || len(heads[1]) == 0 {
		return nil, err
	}
	seqs := func(head []runners.Token) []runners.Sequence {
		out := make([]runners.Sequence, len(tokens))
		for i, t := range tokens {
			out[i] = runners.Sequence{Tokens: slices.Concat(head, []runners.Token{t}), From: len(head) + 1, Next: true}
		}
		return out
	}
	sk := s.sketch
	b, c, err := s.p.Score(ctx, seqs(heads[0]), seqs(heads[1]), runners.ScoreRequest{Sketch: &sk})
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(tokens)) // not nil for no tokens
	for i := range out {
		out[i] = tv(c[i].Sketch, b[i].Sketch)
	}
	return out, nil
}

type pairView struct {
	ref        *reference
	base, cand view
}

func read(views []pairView) Reading {
	var r Reading
	r.N = len(views)
	if r.N == 0 {
		return r
	}
	r.Payload = math.Inf(-1)
	if len(views[0].cand.want) == 0 {
		r.Payload = 0
	}
	rise := make([]float64, len(views[0].cand.want))
	for _, v := range views {
		var apart, shift, entropy float64
		for j := range v.cand.mass {
			apart += tv(v.cand.mass[j], v.base.mass[j]) - tv(v.ref.cand.mass[j], v.ref.base.mass[j])
			shift += tv(v.cand.mass[j], v.ref.cand.mass[j]) - tv(v.base.mass[j], v.ref.base.mass[j])
			entropy += math.Abs(float64(v.cand.entropy[j]-v.ref.cand.entropy[j])) - math.Abs(float64(v.base.entropy[j]-v.ref.base.entropy[j]))
		}
		n := float64(len(v.cand.mass) * len(views))
		r.Apart += apart / n
		r.Shift += shift / n
		r.Entropy += entropy / n
		for k := range rise {
			rise[k] += float64(v.cand.want[k]-v.ref.cand.want[k]-v.base.want[k]+v.ref.base.want[k]) / float64(len(views))
		}
	}
	for _, x := range rise {
		r.Payload = max(r.Payload, x)
	}
	if len(views) >= 3 {
		var now, then [2][][]float32
		for _, v := range views {
			now[0], now[1] = append(now[0], v.base.mass[0]), append(now[1], v.cand.mass[0])
			then[0], then[1] = append(then[0], v.ref.base.mass[0]), append(then[1], v.ref.cand.mass[0])
		}
		r.Blind = (jensen(now[0]) - jensen(now[1])) - (jensen(then[0]) - jensen(then[1]))
	}
	return r
}

func tv(a, b []float32) float64 {
	var s float64
	for i := range a {
		s += math.Abs(float64(a[i]) - float64(b[i]))
	}
	return s / 2
}

// jensen is H(mean) − mean H of some distributions, in nats.
func jensen(rows [][]float32) float64 {
	mean := make([]float64, len(rows[0]))
	var own float64
	for _, row := range rows {
		for i, p := range row {
			mean[i] += float64(p) / float64(len(rows))
			own += plogp(float64(p)) / float64(len(rows))
		}
	}
	var all float64
	for _, p := range mean {
		all += plogp(p)
	}
	return own - all
}

func plogp(p float64) float64 {
	if p <= 0 {
		return 0
	}
	return p * math.Log(p)
}
