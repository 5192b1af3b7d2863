package sandboxtest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/harness/sandbox/internal/daemon"
	"github.com/weighbridge/weighbridge/harness/sandbox/sandboxtest"
	"github.com/weighbridge/weighbridge/internal/testreq"
)

func needContainerd(t *testing.T) {
	testreq.Root(t)
	_, err := exec.LookPath("containerd")
	testreq.Need(t, err == nil, "containerd (apt-get install containerd runc, or make boxes-deps)")
}

func TestRunc(t *testing.T) {
	needContainerd(t)
	_, err := exec.LookPath("runc")
	testreq.Need(t, err == nil, "runc (apt-get install runc, or make boxes-deps)")
	sandboxtest.Suite(t, sandbox.Config{Address: sandbox.Private, Runtime: sandbox.Runc})
}

// TestGivenContainerd runs boxes on a containerd that is not weighbridge's own,
// as a system's is.
func TestGivenContainerd(t *testing.T) {
	needContainerd(t)
	bin, err := exec.LookPath("containerd")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "wbc")
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Start(t.Context(), bin, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(d.Stop(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	}()
	sandboxtest.Hosts(t, sandbox.Config{Address: d.Address, Runtime: sandbox.Runc})
}

func TestRunsc(t *testing.T) {
	needContainerd(t)
	path, err := exec.LookPath("runsc")
	if err != nil {
		path, _ = filepath.Abs("../../../bin/runsc")
		_, err = os.Stat(path)
	}
	testreq.Need(t, err == nil, "runsc (make bin/runsc)")
	sandboxtest.Suite(t, sandbox.Config{Address: sandbox.Private, Runtime: sandbox.Runsc, RuntimePath: path})
}
