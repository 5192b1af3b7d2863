// Package testreq states what a test needs from the machine. Where the need
// is not met the test skips with the reason, and fails instead when
// WEIGHBRIDGE_REQUIRE=1 says that this machine is supposed to have everything.
//
// It will not install or start anything: the Makefile does that.
package testreq

import (
	"os"
	"testing"
)

// Strict reports whether a missing need is a failure (WEIGHBRIDGE_REQUIRE=1).
func Strict() bool { return os.Getenv("WEIGHBRIDGE_REQUIRE") == "1" }

// Need ends the test when ok is false: a skip that says what is missing and
// how to get it, or a failure under Strict.
func Need(t testing.TB, ok bool, missing string) {
	t.Helper()
	switch {
	case ok:
	case Strict():
		t.Fatalf("needed here and missing: %s", missing)
	default:
		t.Skipf("needs %s", missing)
	}
}

// Root ends the test unless the process runs as root.
func Root(t testing.TB) {
	t.Helper()
	Need(t, os.Geteuid() == 0, "root (boxes need namespaces, mounts and cgroups); run the tests as root")
}

// File ends the test unless path exists. how says which command makes it.
func File(t testing.TB, path, how string) string {
	t.Helper()
	_, err := os.Stat(path)
	Need(t, err == nil, path+" ("+how+")")
	return path
}
