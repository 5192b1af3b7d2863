package wire

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/runners"
)

var kinds = []string{"control", "user-defined", "unused", "unknown"}

func checkInfo(i *runners.Info) error {
	switch {
	case i.VocabSize < 1 || i.VocabSize > maxVocab:
		return lie(opInfo, "a vocabulary of %d tokens", i.VocabSize)
	case i.ContextLength < 1 || i.ContextLength > maxContext:
		return lie(opInfo, "a context of %d tokens", i.ContextLength)
	case len(i.Engine) > maxString || len(i.Architecture) > maxString:
		return lie(opInfo, "names of %d and %d bytes", len(i.Engine), len(i.Architecture))
	}
	for _, t := range []runners.Token{i.BOS, i.EOS, i.EOT} {
		if t != runners.None && !inVocab(t, i) {
			return lie(opInfo, "token %d in a vocabulary of %d", t, i.VocabSize)
		}
	}
	last := runners.None
	for _, s := range i.Special {
		if s.ID <= last || !inVocab(s.ID, i) || len(s.Text) > maxString || !slices.Contains(kinds, s.Kind) {
			return lie(opInfo, "special token %d of kind %.32q after %d", s.ID, s.Kind, last)
		}
		last = s.ID
	}
	return nil
}

func inVocab(t runners.Token, i *runners.Info) bool { return t >= 0 && int(t) < i.VocabSize }

// maxTokens is more than any tokenizer makes of a text.
func maxTokens(s string) int { return 4*len(s) + 16 }

func checkTokenize(r *runners.TokenizeRequest, a *runners.TokenizeResult, i *runners.Info) error {
	if len(a.Tokens) != len(r.Texts) {
		return lie(opTokenize, "%d results for %d texts", len(a.Tokens), len(r.Texts))
	}
	for k, ts := range a.Tokens {
		if len(ts) > maxTokens(r.Texts[k]) {
			return lie(opTokenize, "text %d of %d bytes is %d tokens", k, len(r.Texts[k]), len(ts))
		}
		if err := checkIDs(opTokenize, k, ts, i); err != nil {
			return err
		}
	}
	return nil
}

func checkIDs(op string, item int, ts []runners.Token, i *runners.Info) error {
	for _, t := range ts {
		if !inVocab(t, i) {
			return lie(op, "item %d: token %d in a vocabulary of %d", item, t, i.VocabSize)
		}
	}
	return nil
}

func checkRender(a *runners.RenderResult, i *runners.Info) error {
	for k, x := range a.Rendered {
		switch {
		case x.Error != "" && (x.Text != "" || len(x.Tokens) > 0):
			return lie(opRender, "item %d has an error and a text", k)
		case len(x.Error) > maxString || len(x.Text) > maxRendered:
			return lie(opRender, "item %d has %d bytes", k, max(len(x.Error), len(x.Text)))
		}
		if err := checkIDs(opRender, k, x.Tokens, i); err != nil {
			return err
		}
	}
	return nil
}

// tolerance is what rounding may add to a probability or an entropy.
const tolerance = 1e-3

// between says whether all of v are finite and in [lo,hi].
func between(v []float32, lo, hi float64) bool {
	for _, x := range v {
		if !(float64(x) >= lo && float64(x) <= hi) { // not: NaN
			return false
		}
	}
	return true
}

// A log-probability, for logits that are finite in float32.
const minLog = -2 * math.MaxFloat32

func checkUsage(op string, u runners.Usage, asked int) error {
	if u.Asked != asked || u.Decoded < 0 || u.Decoded > asked {
		return lie(op, "usage %d/%d for %d tokens", u.Decoded, u.Asked, asked)
	}
	return nil
}

func checkScore(r *runners.ScoreRequest, a *runners.ScoreResult, i *runners.Info) error {
	asked := 0
	most := math.Log(float64(i.VocabSize)) + tolerance
	for k := range a.Sequences {
		s, q := &a.Sequences[k], r.Sequences[k]
		asked += len(q.Tokens)
		n, top, buckets, rows := q.Predictions(), min(r.TopK, i.VocabSize), 0, 0
		if r.Sketch != nil {
			buckets = r.Sketch.Buckets
		}
		if r.Rows {
			rows = 2 * i.VocabSize
		}
		if len(s.LogProb) != n || len(s.Rank) != n || len(s.Entropy) != n || len(s.VarLog) != n ||
			len(s.TopIDs) != n*top || len(s.TopLog) != n*top || len(s.Want) != n*len(r.Want) ||
			len(s.Sketch) != n*buckets || len(s.Rows) != n*rows {
			return lie(opScore, "sequence %d does not have %d predictions of what was asked", k, n)
		}
		if !between(s.LogProb, minLog, 0) || !between(s.Want, minLog, 0) || !between(s.TopLog, minLog, 0) ||
			!between(s.Entropy, 0, most) || !between(s.VarLog, 0, math.MaxFloat32) || !between(s.Sketch, 0, 1+tolerance) {
			return lie(opScore, "sequence %d has a number that is not finite or out of range", k)
		}
		for p, rank := range s.Rank {
			actual := q.From+p < len(q.Tokens)
			if actual && (rank < 0 || int(rank) >= i.VocabSize) || !actual && (rank != -1 || s.LogProb[p] != 0) {
				return lie(opScore, "sequence %d, prediction %d has rank %d", k, p, rank)
			}
		}
		if err := checkIDs(opScore, k, s.TopIDs, i); err != nil {
			return err
		}
		for p := range s.TopLog {
			if p%max(top, 1) > 0 && (s.TopLog[p] > s.TopLog[p-1] || s.TopIDs[p] == s.TopIDs[p-1]) {
				return lie(opScore, "sequence %d: its most likely tokens are not in order", k)
			}
		}
		for p := 0; p < len(s.Rows); p += 2 {
			if binary.LittleEndian.Uint16(s.Rows[p:])&0x7c00 == 0x7c00 {
				return lie(opScore, "sequence %d has a logit that is not finite", k)
			}
		}
	}
	return checkUsage(opScore, a.Usage, asked)
}

var stops = []string{runners.StopEnd, runners.StopString, runners.StopLength, runners.StopPattern}

func checkGenerate(r *runners.GenerateRequest, a *runners.GenerateResult, i *runners.Info) error {
	asked := 0
	for k, g := range a.Generations {
		asked += len(r.Prompts[k]) + len(g.Tokens)
		allowed := 0
		if len(r.Pattern) > 0 {
			allowed = len(g.Tokens)
		}
		switch {
		case len(g.Tokens) > r.MaxTokens || len(g.LogProb) != len(g.Tokens) || len(g.Allowed) != allowed:
			return lie(opGenerate, "item %d has %d tokens, %d log-probabilities, %d entropies", k, len(g.Tokens), len(g.LogProb), len(g.Allowed))
		case !slices.Contains(stops, g.Stop):
			return lie(opGenerate, "item %d stopped for %.32q", k, g.Stop)
		case !between(g.LogProb, minLog, 0) || !between(g.Allowed, 0, math.Log(float64(i.VocabSize))+tolerance):
			return lie(opGenerate, "item %d has a number that is not finite or out of range", k)
		}
		if err := checkIDs(opGenerate, k, g.Tokens, i); err != nil {
			return err
		}
	}
	return checkUsage(opGenerate, a.Usage, asked)
}
