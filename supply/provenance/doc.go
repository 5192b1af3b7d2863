// Package provenance says where weights come from: it writes, reads and checks
// SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance) for models, whose
// build types and roles docs/provenance.md defines, follows the lineage through
// base models that are at hand, and makes weights again where their recipe has
// one possible outcome.
//
// In: an in-toto statement, the manifest of the model that it should be about,
// and a [Lookup] for what is at hand. Out: [Facts], the edges of the lineage,
// and problems with stable rule codes, each of which is either a contradiction
// or a gap ([StateOf]).
//
// Statements are hostile: they are read with bounds on size, depth and number,
// and refused where two readers could read them differently (a key twice, keys
// that differ in case only, text that is not UTF-8). A bad statement is a
// problem, never a Go error; Go errors are of this machine.
//
// It will not verify signatures (packages bundle and trust), will not fetch
// anything, and executes nothing that a statement or a recipe names. It runs
// one program, git, on repositories that its caller names.
package provenance
