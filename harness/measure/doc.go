// Package measure puts requests to models in boxes and remembers the answers.
//
// A measurement is a pure function of weights, engine, runtime and request, so
// [Model] looks in the [Store] first and starts a box only for what was never
// asked. The same mechanism is the cache of a baseline between runs, the way a
// killed run goes on, and the meeting point of many workers.
//
// When a box ends in the middle of a request the request is put to a fresh
// box. One that ends [Attempts] boxes in a row is given up as [*DiedError]:
// whether that speaks about the weights or about the machine is for the caller
// to find out, by asking the other side.
//
// The package will not choose what to ask, judge an answer, or answer anything
// about one identity from another's entry.
package measure
