// Package generate makes the data of the built-in suites. Every file is a pure
// function of the tables and seeds in this package:
//
//	go test ./suites/internal/generate -update
//
// writes the files, and without -update the test checks that they are what
// this package makes. Nothing is downloaded and no other data set is used.
package generate
