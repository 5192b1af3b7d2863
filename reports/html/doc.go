// Package html renders a run as one HTML page that opens from disk.
//
// The page holds everything that it needs and asks nobody for anything: its
// content security policy forbids every source but the one style sheet and the
// one script in it, by their digests. It is complete without the script, which
// only filters and sorts the table of flips. Its size is bounded: what matters
// most is shown, and what is left out is counted.
//
// Every text of the run is taken for hostile. It reaches the page only through
// [template.HTML] made by this package's markup functions or as a plain value
// that html/template escapes.
package html
