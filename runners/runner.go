package runners

import (
	"context"
	"encoding/json"
	"fmt"
)

// Token is an id in a model's vocabulary, 0 ≤ id < Info.VocabSize.
// None marks "no such token".
type Token = int32

// None is the absent token.
const None Token = -1

// Limits of one request. An implementation refuses more with CodeTooLarge.
const (
	MaxItems   = 4096 // sequences, prompts, texts or conversations
	MaxTopK    = 256
	MaxWant    = 4096
	MaxBuckets = 4096
)

// Model answers questions about one set of weights.
//
// All methods are safe for concurrent use and return when ctx is done. A
// refused request gives an *Error; any other error means that the model could
// not be asked and says nothing about its weights.
type Model interface {
	Info(ctx context.Context) (*Info, error)
	Tokenize(ctx context.Context, r *TokenizeRequest) (*TokenizeResult, error)
	Detokenize(ctx context.Context, r *DetokenizeRequest) (*DetokenizeResult, error)
	Render(ctx context.Context, r *RenderRequest) (*RenderResult, error)
	Score(ctx context.Context, r *ScoreRequest) (*ScoreResult, error)
	Generate(ctx context.Context, r *GenerateRequest) (*GenerateResult, error)
}

// Info describes the loaded model and the engine build that runs it.
type Info struct {
	Engine        string         `cbor:"engine"`         // build identity: name, version, compiler, flags, CPU level
	Architecture  string         `cbor:"architecture"`   // general.architecture
	VocabSize     int            `cbor:"vocab_size"`     // tokens
	ContextLength int            `cbor:"context_length"` // tokens that one sequence may hold here
	BOS           Token          `cbor:"bos"`            // None when the vocabulary has none
	EOS           Token          `cbor:"eos"`
	EOT           Token          `cbor:"eot"`
	AddBOS        bool           `cbor:"add_bos"`  // the tokenizer puts BOS first
	Special       []SpecialToken `cbor:"special"`  // control, user-defined, unused and unknown tokens, by id
	HasTemplate   bool           `cbor:"template"` // a chat template is present
	CanScore      bool           `cbor:"can_score"`
}

// SpecialToken is a vocabulary entry that is not ordinary text.
type SpecialToken struct {
	ID   Token  `cbor:"id"`
	Text string `cbor:"text"`
	Kind string `cbor:"kind"` // control, user-defined, unused, unknown, byte is not listed
}

// TokenizeRequest asks for the ids of texts. With Special, special tokens that
// are spelt out in a text become control tokens; without it they are text.
// BOS is added only with AddBOS, and only where the tokenizer wants one.
type TokenizeRequest struct {
	Texts   []string `cbor:"texts"`
	Special bool     `cbor:"special"`
	AddBOS  bool     `cbor:"add_bos"`
}

// TokenizeResult has the ids of each text, in order.
type TokenizeResult struct {
	Tokens [][]Token `cbor:"tokens"`
}

// DetokenizeRequest asks for the bytes of token sequences. With Special,
// control tokens are spelt out; without it they give nothing.
type DetokenizeRequest struct {
	Tokens  [][]Token `cbor:"tokens"`
	Special bool      `cbor:"special"`
}

// DetokenizeResult has the bytes of each sequence. They need not be UTF-8.
type DetokenizeResult struct {
	Texts [][]byte `cbor:"texts"`
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `cbor:"role" json:"role"` // system, user, assistant, tool
	Content string `cbor:"content" json:"content"`
	// ToolCalls is the JSON array of an assistant's calls, or empty.
	ToolCalls json.RawMessage `cbor:"tool_calls,omitempty" json:"tool_calls,omitempty"`
}

// Conversation is what a chat template is given.
type Conversation struct {
	Messages []Message `cbor:"messages" json:"messages"`
	// Tools is the JSON array of tool definitions, or empty.
	Tools json.RawMessage `cbor:"tools,omitempty" json:"tools,omitempty"`
	// AddGenerationPrompt opens the assistant's turn.
	AddGenerationPrompt bool `cbor:"add_generation_prompt" json:"add_generation_prompt"`
	// Now is the clock that strftime_now reads, RFC 3339; empty means 2024-07-26T12:00:00Z.
	// A template never sees the real time.
	Now string `cbor:"now,omitempty" json:"now,omitempty"`
}

// RenderRequest asks for conversations to be put through the model's own chat
// template. Text that spells a special token inside a message stays text.
type RenderRequest struct {
	Conversations []Conversation `cbor:"conversations"`
}

// RenderResult has one entry per conversation.
type RenderResult struct {
	Rendered []Rendered `cbor:"rendered"`
}

// Rendered is a conversation as text and as ids. A template that raises, runs
// past its deadline or past its output limit gives Error and nothing else:
// what a template does is a measurement, not a fault.
type Rendered struct {
	Text   string  `cbor:"text"`
	Tokens []Token `cbor:"tokens"`
	Error  string  `cbor:"error,omitempty"`
}

// Sequence is one text to score. Predictions j = From … len(Tokens)-1 are
// those of token j from the tokens before it; with Next there is one more,
// j = len(Tokens), which has no actual token. From ≥ 1, since token 0 has
// nothing before it.
type Sequence struct {
	Tokens []Token `cbor:"tokens"`
	From   int     `cbor:"from"`
	Next   bool    `cbor:"next"`
}

// Predictions is the number of predictions the sequence asks for.
func (s Sequence) Predictions() int {
	n := len(s.Tokens) - s.From
	if s.Next {
		n++
	}
	return n
}

// ScoreRequest asks what the model predicts along given sequences.
// Prefixes that sequences share are decoded once.
type ScoreRequest struct {
	Sequences []Sequence `cbor:"sequences"`
	TopK      int        `cbor:"top_k,omitempty"`  // most likely tokens per prediction, 0 … MaxTopK
	Want      []Token    `cbor:"want,omitempty"`   // tokens whose log-probability is asked at every prediction
	Sketch    *Sketch    `cbor:"sketch,omitempty"` // fixed partition of the vocabulary
	Rows      bool       `cbor:"rows,omitempty"`   // the whole row of logits, fp16
}

// Sketch partitions the vocabulary into buckets by a seeded hash and asks for
// the probability mass of each. A divergence between two models over the same
// sketch is a lower bound of the divergence over the vocabulary (data
// processing inequality), at 1/100 of the bytes of a row.
type Sketch struct {
	Buckets int    `cbor:"buckets"` // 2 … MaxBuckets
	Seed    uint64 `cbor:"seed"`
}

// Bucket is the bucket of a token: SplitMix64 of seed and id, scaled to
// [0, Buckets) by multiplication (Lemire 2019, arXiv:1805.10941).
func (s Sketch) Bucket(t Token) int {
	z := s.Seed + uint64(uint32(t)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return int((z >> 32) * uint64(s.Buckets) >> 32)
}

// ScoreResult has one entry per sequence, in order.
type ScoreResult struct {
	Sequences []SequenceScore `cbor:"sequences"`
	Usage     Usage           `cbor:"usage"`
}

// SequenceScore has one entry per prediction j of a Sequence; logarithms are
// natural. Where there is no actual token (j = len(Tokens)) LogProb is 0 and
// Rank is -1. Two-dimensional fields are row-major, one row per prediction.
type SequenceScore struct {
	LogProb []float32 `cbor:"logprob"`          // log p of the actual token
	Rank    []int32   `cbor:"rank"`             // number of tokens with a larger logit
	Entropy []float32 `cbor:"entropy"`          // −Σ p log p, nats; also minus the mean of log p under p
	VarLog  []float32 `cbor:"varlog"`           // variance of log p under p (Min-K%++)
	TopIDs  []Token   `cbor:"top,omitempty"`    // predictions × TopK, most likely first, ties by id
	TopLog  []float32 `cbor:"toplog,omitempty"` // their log p
	Want    []float32 `cbor:"want,omitempty"`   // predictions × len(Want)
	Sketch  []float32 `cbor:"sketch,omitempty"` // predictions × Buckets, probabilities
	Rows    []byte    `cbor:"rows,omitempty"`   // predictions × VocabSize, IEEE 754 binary16 logits, little endian
}

// Usage counts tokens. Asked is what the items hold; Decoded is what the
// engine computed after sharing prefixes.
type Usage struct {
	Asked   int `cbor:"asked"`
	Decoded int `cbor:"decoded"`
}

// Sampling chooses the next token. The zero value is greedy: the largest
// logit, ties to the smallest id.
type Sampling struct {
	Temperature float64 `cbor:"temperature,omitempty"` // 0 is greedy
	TopK        int     `cbor:"top_k,omitempty"`       // 0 is off
	TopP        float64 `cbor:"top_p,omitempty"`       // 0 is off
	Seed        uint64  `cbor:"seed,omitempty"`        // item i draws from its own stream of (Seed, i)
}

// GenerateRequest asks for continuations of prompts.
type GenerateRequest struct {
	Prompts   [][]Token `cbor:"prompts"`
	MaxTokens int       `cbor:"max_tokens"` // 1 … context length
	Stop      []string  `cbor:"stop,omitempty"`
	// IgnoreEOS gives tokens that end a generation no mass (leakage sampling).
	IgnoreEOS bool     `cbor:"ignore_eos,omitempty"`
	Sampling  Sampling `cbor:"sampling,omitzero"`
	// Pattern constrains the continuation to a text of len(Pattern) characters,
	// the i-th from the set of characters Pattern[i]. Tokens that do not fit are
	// given no mass; generation ends when the pattern is complete.
	Pattern []string `cbor:"pattern,omitempty"`
}

// Stop reasons of a Generation.
const (
	StopEnd     = "end"     // an end-of-generation token
	StopString  = "stop"    // a stop string, which is not part of Text
	StopLength  = "length"  // MaxTokens or the context
	StopPattern = "pattern" // the pattern is complete, or no token fits it
)

// GenerateResult has one entry per prompt, in order.
type GenerateResult struct {
	Generations []Generation `cbor:"generations"`
	Usage       Usage        `cbor:"usage"`
}

// Generation is one continuation. Tokens has no end-of-generation token. Text is
// the bytes of Tokens up to the stop, without control tokens; it need not be UTF-8.
type Generation struct {
	Tokens []Token `cbor:"tokens"`
	Text   []byte  `cbor:"text"`
	Stop   string  `cbor:"stop"`
	// LogProb is log p of each token under the unmodified distribution.
	LogProb []float32 `cbor:"logprob"`
	// Allowed is the entropy, in nats, of the distribution renormalised over the
	// tokens that fit the pattern; empty without a pattern.
	Allowed []float32 `cbor:"allowed,omitempty"`
}

// Code says why a request was refused.
type Code string

// The closed list of codes.
const (
	CodeInvalid     Code = "invalid"     // the request contradicts itself or its documentation
	CodeTooLarge    Code = "too-large"   // beyond a limit of this package
	CodeContext     Code = "context"     // an item does not fit the context
	CodeToken       Code = "token"       // an id outside the vocabulary
	CodeNoTemplate  Code = "no-template" // the model has no chat template
	CodeTemplate    Code = "template"    // the chat template does not parse
	CodeUnsupported Code = "unsupported" // this engine cannot do that (Ollama cannot score)
	CodeEngine      Code = "engine"      // the engine failed on this request and lives
)

// Error is a refused request. Item is the index of the offending item, or -1.
type Error struct {
	Code    Code   `cbor:"code"`
	Item    int    `cbor:"item"`
	Message string `cbor:"message"`
}

func (e *Error) Error() string {
	if e.Item < 0 {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s: item %d: %s", e.Code, e.Item, e.Message)
}

// Refused makes an Error about one item, or about the request when item is -1.
func Refused(code Code, item int, format string, args ...any) *Error {
	return &Error{Code: code, Item: item, Message: fmt.Sprintf(format, args...)}
}
