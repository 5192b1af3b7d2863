package metadata

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

// keyKind says what reads a metadata key, and so what a change of it means.
type keyKind int

const (
	keyUnknown   keyKind = iota // in a namespace that the engine reads, but not known here
	keyProse                    // describes the file to people, or its storage
	keyIgnored                  // in a namespace that no engine reads
	keyVocab                    // the strings of the ids and their types
	keyTokenizer                // steers encoding: judged by what both encoders do
	keyControl                  // id of a token that begins or ends a text
	keyTemplate                 // chat template
	keyGraph                    // steers the computation
	keySampling                 // default sampling
)

// prose are keys of general.* that nothing computes with (GGUF specification,
// "General metadata"), besides the prefixes of proseUnder.
var prose = map[string]bool{
	"general.alignment": true, "general.author": true, "general.basename": true, "general.description": true,
	"general.doi": true, "general.file_type": true, "general.finetune": true, "general.languages": true,
	"general.license": true, "general.name": true, "general.organization": true, "general.quantization_version": true,
	"general.quantized_by": true, "general.repo_url": true, "general.size_label": true, "general.tags": true,
	"general.type": true, "general.url": true, "general.uuid": true, "general.version": true, "general.date": true,
	"general.datasets": true,
	// Padding is never part of what one sequence is asked.
	"tokenizer.ggml.padding_token_id": true,
}

var proseUnder = []string{"general.base_model.", "general.dataset.", "general.license.", "general.source.", "quantize.", "split."}

var tokenizerKeys = map[string]bool{
	"tokenizer.ggml.model": true, "tokenizer.ggml.pre": true, "tokenizer.ggml.merges": true, "tokenizer.ggml.scores": true,
	"tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.add_eos_token": true, "tokenizer.ggml.add_sep_token": true,
	"tokenizer.ggml.add_space_prefix": true, "tokenizer.ggml.remove_extra_whitespaces": true,
	"tokenizer.ggml.precompiled_charsmap": true, "tokenizer.ggml.unknown_token_id": true,
	"tokenizer.ggml.token_type_count": true,
}

var controlKeys = map[string]string{
	"tokenizer.ggml.bos_token_id": "bos", "tokenizer.ggml.eos_token_id": "eos",
	"tokenizer.ggml.eot_token_id": "eot", "tokenizer.ggml.eom_token_id": "eom",
}

func kindOf(key, arch string) keyKind {
	switch {
	case prose[key]:
		return keyProse
	case key == "tokenizer.ggml.tokens" || key == "tokenizer.ggml.token_type":
		return keyVocab
	case tokenizerKeys[key]:
		return keyTokenizer
	case controlKeys[key] != "":
		return keyControl
	case strings.HasPrefix(key, "tokenizer.chat_template"):
		return keyTemplate
	case strings.HasPrefix(key, "general.sampling."):
		return keySampling
	case arch != "" && strings.HasPrefix(key, arch+"."):
		return keyGraph
	}
	for _, p := range proseUnder {
		if strings.HasPrefix(key, p) {
			return keyProse
		}
	}
	for _, p := range []string{"general.", "tokenizer.", "adapter."} {
		if strings.HasPrefix(key, p) {
			return keyUnknown
		}
	}
	return keyIgnored
}

// sameMeaning reports that two values differ in their number type only, as
// when one converter writes uint32 and another uint64.
func sameMeaning(a, b gguf.Value) bool {
	x, okx := number(a)
	y, oky := number(b)
	return okx && oky && (x == y || math.Abs(x-y) <= 1e-6*math.Abs(x) && float32(x) == float32(y))
}

// number is a scalar number as float64; integers beyond 2^53 are not taken,
// since two of them may share a float64.
func number(v gguf.Value) (float64, bool) {
	r := reflect.ValueOf(v.Data)
	switch {
	case r.CanInt():
		return float64(r.Int()), max(r.Int(), -r.Int()) < 1<<53
	case r.CanUint():
		return float64(r.Uint()), r.Uint() < 1<<53
	case r.CanFloat():
		return r.Float(), !math.IsNaN(r.Float())
	}
	return 0, false
}

// keys judges the changes of single keys. encoding says what the encoders of
// the two models did with the corpus.
func (p *pair) keys(fs *findings, encoding *encoding) {
	var harmless []string
	for _, c := range p.changes {
		b, inB := p.baseline.meta.Get(c.Key)
		a, inC := p.candidate.meta.Get(c.Key)
		values := fmt.Sprintf("%s → %s", shown(c.Baseline), shown(c.Candidate))
		f := record.Finding{Rule: "key", Subject: c.Key, Class: record.Tampered, Tier: record.Divergent,
			Title: fmt.Sprintf("Metadata key %s differs", cut(c.Key, 80)), Detail: values + ". "}
		switch kind := kindOf(c.Key, p.arch); {
		case kind == keyVocab || kind == keyTemplate: // judged as a whole elsewhere
			continue
		case kind == keyProse || kind == keyIgnored || inB && inC && sameMeaning(b, a):
			harmless = append(harmless, c.Key)
			continue
		case kind == keyTokenizer:
			f.Families = []string{tkz}
			switch {
			case len(encoding.different) > 0 && c.Key == "tokenizer.ggml.pre" && (!inB || b.Data == "default"):
				f.Detail += "The baseline does not name its pre-tokeniser and the candidate does, as converters do since 2024; texts are split differently nevertheless."
			case len(encoding.different) > 0:
				f.Tier = record.Proven
				f.Detail += "The two tokenizers give different ids for the text of the transcript, so the weights are told something else than what the user wrote."
				f.Transcript = encoding.transcript(1)
			case inB != inC:
				harmless = append(harmless, c.Key)
				continue
			default:
				f.Detail += fmt.Sprintf("Both encoders agree on %d texts; a text on which they do not was not found.", encoding.texts)
			}
		case kind == keyControl:
			f.Families = []string{tkz}
			if !p.control(&f, controlKeys[c.Key]) {
				harmless = append(harmless, c.Key)
				continue
			}
		case kind == keyGraph:
			f.Detail += "The engine computes with this key, so the same weights give other numbers. Whether the weights were trained for the new value cannot be seen here."
		case kind == keySampling:
			f.Class = record.Behaviour
			f.Detail += "It changes how answers are drawn where the user sets nothing. Probes set their own sampling and do not see it."
		default:
			f.Detail += "The key is in a namespace that engines read, and this version does not know it."
		}
		fs.add(f)
	}
	if len(harmless) > 0 {
		fs.add(record.Finding{Rule: "allowed", Class: record.Relation, Tier: record.Consistent,
			Title:  fmt.Sprintf("%d metadata keys differ that change no answer", len(harmless)),
			Detail: "They describe the file, are read by no engine, hold the same number in another type, or state what is the default anyway: " + some(short(harmless), 24) + ".", N: len(harmless)})
	}
}

// control judges a changed id of a begin or end token, and reports whether the
// engine behaves differently for it.
func (p *pair) control(f *record.Finding, name string) bool {
	b, c := p.baseline, p.candidate
	before, after := b.special(name), c.special(name)
	if eb, ec, known := engineToken(b, c, name); known {
		if eb == ec {
			return false
		}
		before, after = int(eb), int(ec)
	}
	text := func(s *side, id int) string {
		if id < 0 || id >= len(s.tok.Tokens) {
			return "none"
		}
		return quote(s.tok.Tokens[id])
	}
	f.Title = fmt.Sprintf("The %s token changed from %s to %s", name, text(b, before), text(c, after))
	swapped := false
	for other := range c.tok.Special {
		if other != name && after >= 0 && b.special(other) == after && c.special(other) == before {
			swapped = true
		}
	}
	switch {
	case swapped:
		f.Tier = record.Proven
		f.Detail += "It changed places with another control token, so texts begin or end elsewhere."
	case p.sameWeights() && before >= 0 && after >= 0:
		f.Tier = record.Proven
		f.Detail += "The weights are the baseline's, which were trained for the baseline's token, so texts begin or end elsewhere."
	default:
		f.Detail += "Texts begin or end elsewhere. Fine-tuned weights may have been trained for another token: compare with what the publisher says."
	}
	return true
}

// engineToken is what the engines made of the key, defaults included.
func engineToken(b, c *side, name string) (before, after int32, known bool) {
	if b.info == nil || c.info == nil {
		return 0, 0, false
	}
	switch name {
	case "bos":
		return b.info.BOS, c.info.BOS, true
	case "eos":
		return b.info.EOS, c.info.EOS, true
	case "eot":
		return b.info.EOT, c.info.EOT, true
	}
	return 0, 0, false
}

func (p *pair) sameWeights() bool {
	return p.relation == weights.SameBits || p.relation == weights.Requantised
}

func shown(v *weights.MetadataLine) string {
	if v == nil {
		return "(absent)"
	}
	return cut(v.Value, shownText)
}

func short(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = cut(s, 80)
	}
	return out
}
