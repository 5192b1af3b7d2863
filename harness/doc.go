// Package harness is the main job: two artifacts in, one record with a verdict
// out.
//
//	identify -> plan -> measure -> compare -> decide
//
// [Diff] shows it on one page. What each stage does is in the package of its
// name; this one only joins them, and keeps three rules: a fault never becomes
// a verdict, what was not tested is said, and the same inputs leave the same
// record.
//
// It will not write files, print, or know how a box is built.
package harness
