package sandboxtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/weighbridge/weighbridge/harness/sandbox"
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
