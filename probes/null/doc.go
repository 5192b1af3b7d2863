// Package null is the control of a run: does the baseline, asked twice, answer
// the same?
//
// The other probes read every difference between the two models as one of
// weights. That holds only while the way of asking changes nothing. This probe
// puts a fixed set of prompts to the baseline alone:
//
//   - twice in the same shape. The second request differs in what cannot
//     matter: the seed of a greedy generation, a token whose probability is
//     asked besides. So it is a request of its own, which no store remembers,
//     over the same batches. Anything but equal bits is a fault of the engine.
//   - once more in reverse order, that is in other batches. Rounding may differ
//     there; how much is the noise floor, and how many greedy answers flip is
//     told to later probes as a lead of the kind "noise", whose score is the
//     upper end of the 95 % interval of the flip rate.
//
// The two runs also go through the paired statistics that judge the candidate:
// a model must not differ significantly from itself.
//
// Null: none; it is one. Cost: six times the prompts and 8 tokens each; with a
// small budget fewer prompts, at least 4.
//
// It sees no attack. It is blind to what an engine does wrong every time.
package null
