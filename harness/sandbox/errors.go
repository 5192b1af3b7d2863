package sandbox

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

var (
	// ErrUnavailable means that this machine cannot run boxes as things are:
	// containerd or the runtime is missing or refuses. The message names what
	// to install or change. For the user it is a usage error, not a fault.
	ErrUnavailable = errors.New("boxes cannot run here")
	// ErrBadSpec means that a Spec or Config is not acceptable.
	ErrBadSpec = errors.New("bad box specification")
)

// ProofError is returned by Start when the box failed its self-test. The box
// is gone; it was never asked anything else.
type ProofError struct {
	Name   string
	Report proof.Report
}

func (e *ProofError) Error() string {
	failed := e.Report.Failed()
	if len(failed) == 0 {
		return fmt.Sprintf("box %s: its self-test reported nothing", e.Name)
	}
	c := failed[0]
	return fmt.Sprintf("box %s is not sealed: %d of %d checks failed; first %s: got %q, want %s",
		e.Name, len(failed), len(e.Report.Checks), c.Name, c.Got, c.Want)
}

// EndKind says why a box ended.
type EndKind string

const (
	Exited   EndKind = "exited"   // the guest returned or exited by itself; see ExitCode
	Crashed  EndKind = "crashed"  // the guest died of a signal that the host did not send
	OOM      EndKind = "oom"      // the kernel killed it at its memory limit
	Deadline EndKind = "deadline" // its life was over
	Hung     EndKind = "hung"     // it stopped to answer heartbeats, or the caller gave it up as hung
	Stopped  EndKind = "stopped"  // the host stopped it on purpose
	Lost     EndKind = "lost"     // containerd no longer knows it: a fault of the machine
)

// End is how a box ended.
type End struct {
	Kind EndKind
	// ExitCode is the guest's exit code, or 128 plus the signal's number.
	ExitCode int
	// Detail is one line for people; it holds nothing that the guest said.
	Detail string
}

func (e End) String() string {
	return fmt.Sprintf("%s (exit code %d): %s", e.Kind, e.ExitCode, e.Detail)
}

// EndError is returned by Start when the guest ended before it was proved.
type EndError struct {
	Name   string
	End    End
	Stderr string
}

func (e *EndError) Error() string {
	return fmt.Sprintf("box %s ended while starting: %s; its log ends with %q", e.Name, e.End, lastLine(e.Stderr))
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
