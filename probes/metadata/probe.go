package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

// ID is the probe's name.
const ID = "metadata"

const (
	tpl = string(probes.TPL)
	tkz = string(probes.TKZ)
)

// Params are the settings of the probe. Zero takes the level's default.
type Params struct {
	Literals   int `json:"literals"`
	Renderings int `json:"renderings"`
	Texts      int `json:"texts"`
}

var defaults = map[probes.Level]Params{
	probes.Quick:    {Literals: 64, Renderings: 4_000, Texts: 500},
	probes.Standard: {Literals: 160, Renderings: 8_000, Texts: 2_000},
	probes.Deep:     {Literals: 480, Renderings: 24_000, Texts: 10_000},
}

func init() { probes.Register(probe{}) }

type probe struct{}

func (probe) About() probes.About {
	return probes.About{
		Surroundings: true,
		ID:           ID,
		Question:     "Are the weights told something else than the baseline's weights?",
		Method: "Compares every metadata key, the vocabulary and the tokenizers of the two files; encodes the whole vocabulary and a corpus of hard texts with both; " +
			"renders an atlas of conversations (structures, contents, dates, lengths, and every word that the templates mention) with both chat templates and compares what remains when the contents are hidden.",
		Null:  "None is needed: both sides are deterministic, so any difference is exact.",
		Cost:  "no tokens",
		Sees:  []probes.Family{probes.TPL, probes.TKZ},
		Blind: []probes.Family{probes.TOK, probes.PHR, probes.CMP, probes.SYN, probes.SEM, probes.CTX, probes.REF, probes.OVR, probes.DOS, probes.TGT, probes.STR, probes.COD, probes.CAN, probes.QNT, probes.EDT, probes.CAP},
		Params: []probes.Param{
			{Name: "literals", Default: "64, 160, 480", Meaning: "string literals of the templates that are tried, at quick, standard and deep"},
			{Name: "renderings", Default: "4000, 8000, 24000", Meaning: "most conversations that are rendered"},
			{Name: "texts", Default: "500, 2000, 10000", Meaning: "random texts that are encoded, besides the vocabulary"},
		},
	}
}

// side is one of the two models.
type side struct {
	meta *gguf.Metadata
	tok  *weights.Tokenizer
	info *runners.Info
}

func (s *side) special(name string) int {
	if id, ok := s.tok.Special[name]; ok {
		return id
	}
	return -1
}

// pair is what the parts of the probe look at.
type pair struct {
	in                  *probes.Input
	baseline, candidate *side
	arch                string
	relation            weights.RelationKind
	changes             []weights.MetadataChange
	baseRows, candRows  rowsOf   // nil where the tables of tokens cannot be compared
	perToken            []string // tensors with a row per token
}

// Run implements probes.Probe.
func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	set, err := settings(in)
	if err != nil {
		return nil, err
	}
	out, fs := &probes.Output{}, &findings{}
	p, err := open(in)
	if errors.Is(err, weights.ErrMissing) {
		fs.add(record.Finding{Rule: "tokenizer", Class: record.Behaviour, Tier: record.NotTested, Title: "A file has no tokenizer", Detail: quote(err.Error())})
		out.Findings = fs.list
		return out, nil
	}
	if errors.Is(err, weights.ErrFormat) {
		f := record.Finding{Rule: "tokenizer", Class: record.Broken, Tier: record.Proven, Families: []string{tkz}, Title: "The candidate's tokenizer contradicts itself", Detail: quote(err.Error())}
		if p == nil || p.baseline == nil {
			f.Class, f.Tier, f.Title = record.Behaviour, record.NotTested, "The baseline's tokenizer contradicts itself"
		}
		fs.add(f)
		out.Findings = fs.list
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if p.relation == weights.Unrelated {
		fs.cap = record.Divergent
	}
	enc, err := p.encodings(ctx, fs, set)
	if err != nil {
		return nil, err
	}
	p.keys(fs, enc)
	if err := p.vocabulary(ctx, fs, enc); err != nil {
		return nil, err
	}
	if err := p.specials(ctx, fs); err != nil {
		return nil, err
	}
	if err := p.template(ctx, fs, out, set); err != nil {
		return nil, err
	}
	p.named(fs)
	out.Findings = fs.list
	return out, nil
}

func settings(in *probes.Input) (Params, error) {
	var set Params
	if err := in.Params.Decode(&set); err != nil {
		return set, fmt.Errorf("%s: %w", ID, err)
	}
	d, ok := defaults[in.Level]
	if !ok {
		d = defaults[probes.Standard]
	}
	for _, x := range []struct {
		got  *int
		def  int
		name string
	}{{&set.Literals, d.Literals, "literals"}, {&set.Renderings, d.Renderings, "renderings"}, {&set.Texts, d.Texts, "texts"}} {
		switch {
		case *x.got < 0:
			return set, fmt.Errorf("%s: parameter %s is %d; it must not be negative", ID, x.name, *x.got)
		case *x.got == 0:
			*x.got = x.def
		}
	}
	return set, nil
}

// open collects what the parts need from the two files. With an error about
// the candidate's file it returns the baseline's side alone.
func open(in *probes.Input) (*pair, error) {
	w := in.Weights
	p := &pair{in: in, relation: w.Comparison.Relation.Kind}
	view := func(m *weights.Model, info *runners.Info) (*side, error) {
		t, err := m.Tokenizer()
		if err != nil {
			return nil, err
		}
		return &side{meta: m.Metadata(), tok: t, info: info}, nil
	}
	var err error
	if p.baseline, err = view(w.Baseline, in.BaselineInfo); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if p.candidate, err = view(w.Candidate, in.CandidateInfo); err != nil {
		return p, fmt.Errorf("candidate: %w", err)
	}
	p.arch, _ = p.baseline.meta.String("general.architecture")
	p.changes = weights.DiffMetadata(p.baseline.meta, p.candidate.meta)
	reader := func(m *weights.Model) rowsOf {
		return func(ctx context.Context, tensor string, row int) ([]float32, error) {
			t, ok := m.Tensor(tensor)
			if !ok || row >= t.Rows() {
				return nil, nil
			}
			dst := make([]float32, t.Cols())
			return dst, m.ReadRows(ctx, tensor, row, dst)
		}
	}
	p.baseRows, p.candRows = reader(w.Baseline), reader(w.Candidate)
	for _, name := range []string{weights.Embedding, "output.weight"} {
		b, okB := w.Baseline.Tensor(name)
		c, okC := w.Candidate.Tensor(name)
		if okB && okC && b.Cols() == c.Cols() && b.Type.CanDequantize() && c.Type.CanDequantize() {
			p.perToken = append(p.perToken, name)
		}
	}
	if len(p.perToken) == 0 {
		p.baseRows, p.candRows = nil, nil
	}
	return p, nil
}

// encodings compares what the two tokenizers do and reports it.
func (p *pair) encodings(ctx context.Context, fs *findings, set Params) (*encoding, error) {
	if p.relation == weights.Unrelated {
		fs.add(record.Finding{Rule: "encoding", Class: record.Relation, Tier: record.NotTested, Families: []string{tkz},
			Title: "The tokenizers were not compared", Detail: "The models are unrelated; each has its own."})
		return &encoding{}, nil
	}
	e, err := compareEncoding(ctx, p.in, set.Texts)
	if err != nil {
		return nil, err
	}
	f := record.Finding{Rule: "encoding", Families: []string{tkz}, Statistic: "texts with other ids", Value: record.Float(float64(e.count)), N: e.texts}
	switch other := e.count - e.extended; {
	case other > 0:
		f.Class, f.Tier = record.Tampered, record.Proven
		f.Title = fmt.Sprintf("The tokenizers give different ids for %d of %d texts", e.count, e.texts)
		f.Detail = "The weights are told something else than what the user wrote. "
		f.Transcript = e.transcript(5)
		if _, ok := p.baseline.meta.String("tokenizer.ggml.pre"); !ok && !p.sameWeights() {
			f.Tier = record.Divergent
			f.Detail += "The baseline's file does not name its pre-tokeniser, so the difference may be a converter's repair. "
		}
		v := diffVocabulary(p.baseline.tok, p.candidate.tok)
		if where, err := p.rows(ctx, &v); err != nil {
			return nil, fmt.Errorf("reading the rows of renamed tokens: %w", err)
		} else if where == followed {
			f.Class, f.Tier = record.Behaviour, record.Divergent
			f.Detail += "The vocabulary was reordered together with its embedding rows, so other ids need not mean other words. "
		}
	case e.extended > 0:
		f.Class, f.Tier = record.Behaviour, record.Divergent
		f.Title = fmt.Sprintf("%d of %d texts use tokens that one side lacks", e.extended, e.texts)
		f.Detail = "All other texts have the same ids on both sides. "
	default:
		f.Class, f.Tier = record.Behaviour, record.Consistent
		f.Title = fmt.Sprintf("The tokenizers give the same ids for %d texts", e.texts)
		f.Detail = "The texts are " + e.vocabulary() + ", hard texts of many scripts, and seeded mixtures, with control tokens as text and as control. "
	}
	if len(e.decoded) > 0 {
		f.Detail += fmt.Sprintf("%d ids decode to other bytes, the first being %d. ", len(e.decoded), e.decoded[0])
	}
	if e.skipped > 0 {
		f.Detail += fmt.Sprintf("%d ids beyond the first %d were left out. ", e.skipped, maxVocab)
	}
	fs.add(f)
	if len(e.lost) > 0 {
		fs.add(record.Finding{Rule: "round-trip", Class: record.Tampered, Tier: record.Divergent, Families: []string{tkz},
			Title:      "Texts do not come back from the candidate's tokenizer as they went in",
			Detail:     "Encoded and decoded again they stay the same with the baseline's.",
			Transcript: exchanges(e.lost, 5), N: e.texts})
	}
	return e, nil
}

// named reports further chat templates, which the box does not render.
func (p *pair) named(fs *findings) {
	for _, c := range p.changes {
		if kindOf(c.Key, p.arch) != keyTemplate || c.Key == "tokenizer.chat_template" {
			continue
		}
		b, _ := p.baseline.meta.String(c.Key)
		a, _ := p.candidate.meta.String(c.Key)
		detail := "Engines use it on request; it was not rendered. "
		if b != "" || a != "" {
			detail += lineDiff(b, a)
		}
		fs.add(record.Finding{Rule: "named-template", Subject: c.Key, Class: record.Tampered, Tier: record.Divergent, Families: []string{tpl},
			Title: fmt.Sprintf("A further chat template differs: %s", cut(c.Key, 80)), Detail: detail})
	}
}
