// Package wire carries [runners.Model] over HTTP: [Handler] serves a model,
// [NewClient] is one that asks such a handler.
//
// Each method is POST /v1/ and its name (info, tokenize, detokenize, render,
// score, generate); body and answer are CBOR (RFC 8949) in core deterministic
// encoding. A refused request is answered with status 422 and a
// [runners.Error]; any other failure with status 500 and a line of text.
// Cancelling the context of a request cancels it in the handler.
//
// The two ends do not trust each other equally. The handler is inside a box
// with hostile weights, so the client believes nothing: it bounds the size of
// an answer by what the request can need, and checks counts, lengths, ranges
// and that numbers are finite. What does not fit gives [ErrAnswer], never a
// panic. Text in an answer (token texts, outputs, messages) is not cleaned.
//
// The package will not retry, remember answers, or open connections by itself.
package wire
