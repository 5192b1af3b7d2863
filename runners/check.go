package runners

import (
	"math"
	"time"
)

// The Check methods say whether a model with this Info may be asked, so that
// every implementation refuses the same requests with the same codes.

func checkItems(n int, what string) error {
	if n > MaxItems {
		return Refused(CodeTooLarge, -1, "%d %s; at most %d", n, what, MaxItems)
	}
	return nil
}

func checkTokens(item int, ts []Token, vocab int) error {
	for j, t := range ts {
		if t < 0 || int(t) >= vocab {
			return Refused(CodeToken, item, "token %d is %d; the vocabulary has %d", j, t, vocab)
		}
	}
	return nil
}

// Check gives an *Error or nil.
func (r *TokenizeRequest) Check(*Info) error { return checkItems(len(r.Texts), "texts") }

// Check gives an *Error or nil.
func (r *DetokenizeRequest) Check(m *Info) error {
	if err := checkItems(len(r.Tokens), "sequences"); err != nil {
		return err
	}
	for i, ts := range r.Tokens {
		if err := checkTokens(i, ts, m.VocabSize); err != nil {
			return err
		}
	}
	return nil
}

// Check gives an *Error or nil.
func (r *RenderRequest) Check(m *Info) error {
	if err := checkItems(len(r.Conversations), "conversations"); err != nil {
		return err
	}
	if !m.HasTemplate {
		return Refused(CodeNoTemplate, -1, "the model has no chat template")
	}
	for i, c := range r.Conversations {
		if c.Now == "" {
			continue
		}
		if _, err := time.Parse(time.RFC3339, c.Now); err != nil {
			return Refused(CodeInvalid, i, "now: %v", err)
		}
	}
	return nil
}

// Check gives an *Error or nil.
func (r *ScoreRequest) Check(m *Info) error {
	switch {
	case !m.CanScore:
		return Refused(CodeUnsupported, -1, "this engine cannot score")
	case r.TopK < 0 || r.TopK > MaxTopK:
		return Refused(CodeTooLarge, -1, "top-k %d; 0 to %d", r.TopK, MaxTopK)
	case len(r.Want) > MaxWant:
		return Refused(CodeTooLarge, -1, "%d wanted tokens; at most %d", len(r.Want), MaxWant)
	case r.Sketch != nil && (r.Sketch.Buckets < 2 || r.Sketch.Buckets > MaxBuckets):
		return Refused(CodeTooLarge, -1, "%d buckets; 2 to %d", r.Sketch.Buckets, MaxBuckets)
	}
	if err := checkItems(len(r.Sequences), "sequences"); err != nil {
		return err
	}
	if err := checkTokens(-1, r.Want, m.VocabSize); err != nil {
		return err
	}
	for i, s := range r.Sequences {
		if len(s.Tokens) > m.ContextLength {
			return Refused(CodeContext, i, "%d tokens; the context holds %d", len(s.Tokens), m.ContextLength)
		}
		if err := checkTokens(i, s.Tokens, m.VocabSize); err != nil {
			return err
		}
		if s.From < 1 || s.From > len(s.Tokens) || s.Predictions() == 0 {
			return Refused(CodeInvalid, i, "from %d of %d tokens", s.From, len(s.Tokens))
		}
	}
	return nil
}

// Check gives an *Error or nil.
func (r *GenerateRequest) Check(m *Info) error {
	s := r.Sampling
	switch {
	case r.MaxTokens < 1 || r.MaxTokens > m.ContextLength:
		return Refused(CodeInvalid, -1, "max_tokens %d; 1 to %d", r.MaxTokens, m.ContextLength)
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 1):
		return Refused(CodeInvalid, -1, "temperature %g", s.Temperature)
	case s.TopK < 0:
		return Refused(CodeInvalid, -1, "top_k %d", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return Refused(CodeInvalid, -1, "top_p %g; 0 to 1", s.TopP)
	case len(r.Stop) > MaxItems:
		return Refused(CodeTooLarge, -1, "%d stop strings; at most %d", len(r.Stop), MaxItems)
	case len(r.Pattern) > m.ContextLength:
		return Refused(CodeTooLarge, -1, "a pattern of %d characters; at most %d", len(r.Pattern), m.ContextLength)
	}
	for i, set := range r.Pattern {
		if set == "" {
			return Refused(CodeInvalid, -1, "character %d of the pattern may be nothing", i)
		}
	}
	if err := checkItems(len(r.Prompts), "prompts"); err != nil {
		return err
	}
	for i, p := range r.Prompts {
		if len(p) == 0 {
			return Refused(CodeInvalid, i, "empty prompt")
		}
		if len(p) >= m.ContextLength {
			return Refused(CodeContext, i, "%d tokens leave no room in a context of %d", len(p), m.ContextLength)
		}
		if err := checkTokens(i, p, m.VocabSize); err != nil {
			return err
		}
	}
	return nil
}
