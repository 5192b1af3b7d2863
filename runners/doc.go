// Package runners says what can be asked of a model, whichever engine runs it
// and wherever it runs.
//
// [Model] is the one interface. Its implementations are the engine inside the
// box (runners/llamacpp), the client that reaches it over the box's pipe
// (runners/wire), the remembered model of harness/measure, and the small
// deterministic models of runners/runnertest.
//
// Every request is a group of independent items and every result is a pure
// function of the weights, the engine build and the request: batch geometry
// follows from the group alone, so an item's answer never depends on what else
// is asked before, after or beside the group. The group is therefore also the
// unit that is remembered.
//
// The package holds types and no behaviour: it will not talk to a box, choose
// prompts or judge an answer.
package runners
