// Command zoo runs the battery over a folder of models of which it is known
// what each was made to be, and says how well the verdicts fit.
//
//	go run ./bench/zoo -zoo build/zoo-tiny -baseline testdata/models/base.gguf -suite quick
//
// In: a folder with zoo.jsonl (zoo/README.md has its fields) and the files it
// names, a baseline, a suite. Each member goes through `weighbridge diff` with
// one store for all, so that the baseline is measured once. A member whose
// report was made from the same bytes (program, engine, baseline, member,
// suite, canaries, policy, seed) is not run again.
//
// Out: a table of the members, rates by family, the true and false positive
// rates with exact binomial intervals, a curve of detection against tokens, and
// what is left of the verdicts when one probe's findings are taken out of the
// very same reports. -out puts all of it into a Markdown file, -svg the curve.
//
// It will not judge by itself: verdicts are those of the reports, and of package
// decide where findings are left out. It knows the triggers and payloads of the
// zoo only to say whether a report names them.
package main
