// Package stats holds the statistics by which two models are compared: paired
// differences, exact tests on flips, intervals for rates, corrections for many
// tests, permutation and conformal p-values, extremes, and the power behind
// every "no change".
//
// Everything is a pure function of its arguments; the one random procedure,
// [SignFlip], takes its source from the caller. Scores are paired by index and
// higher is better, so a regression is a negative difference. Probabilities
// are in [0, 1], alpha is a one-sided or two-sided error rate as each function
// says, and intervals are two-sided.
//
// Sources: Miller 2024 (arXiv:2411.00640) for paired and clustered standard
// errors and for power; McNemar 1947 in its exact form; Wilson 1927; Tango
// 1998 (Statistics in Medicine 17:891) for paired rates; Holm
// 1979; Benjamini and Hochberg 1995; Schuirmann 1987 for equivalence; Phipson
// and Smyth 2010 for the +1 of Monte Carlo p-values; Vovk et al. 2005 for
// conformal ones; Gumbel 1958 for block maxima.
//
// The package will not choose an error rate, decide, or repair its input: too
// few values, lengths that differ and values that are not numbers are errors.
package stats
