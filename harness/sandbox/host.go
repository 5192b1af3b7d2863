package sandbox

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

// Host starts boxes. It is safe for concurrent use.
type Host struct{}

// Open finds or starts containerd, checks the runtime, and removes what dead
// owners left behind. Errors: ErrUnavailable, ErrBadSpec.
func Open(ctx context.Context, cfg Config) (*Host, error) { return nil, errors.ErrUnsupported }

// Close stops every box that is still running and the private daemon, if any.
func (h *Host) Close() error { return nil }

// Start makes the box, runs its self-test and returns it ready to be asked.
// ctx bounds the start only. Errors: ErrBadSpec, *ProofError, *EndError, or a
// fault of the machine.
func (h *Host) Start(ctx context.Context, s Spec) (*Box, error) { return nil, errors.ErrUnsupported }

// Box is a running box.
type Box struct {
	// ID is unique on the machine; it is also the container's id.
	ID string
	// Proof is the self-test that the box passed.
	Proof proof.Report
}

// HTTP returns the only way to talk to the guest: an HTTP/2 client bound to
// the box whatever host the URL names (use http://box/path). Many requests may
// be in flight; their contexts cancel them. It follows no redirects.
func (b *Box) HTTP() *http.Client { return nil }

// Stderr returns the last 64 KiB of the guest's log. It is hostile text.
func (b *Box) Stderr() string { return "" }

// Done is closed when the box has ended and all of it is removed.
func (b *Box) Done() <-chan struct{} { return nil }

// Wait waits for Done or ctx and returns how the box ended.
func (b *Box) Wait(ctx context.Context) (End, error) { return End{}, errors.ErrUnsupported }

// Stop kills the box, waits until it is gone and returns how it ended: Stopped,
// or the earlier end if there was one. Stopping twice is fine.
func (b *Box) Stop(ctx context.Context) (End, error) { return End{}, errors.ErrUnsupported }

// GiveUp is Stop for a caller that waited in vain for an answer: the end is
// called Hung with detail.
func (b *Box) GiveUp(ctx context.Context, detail string) (End, error) {
	return End{}, errors.ErrUnsupported
}

// CheckReport is what Check found.
type CheckReport struct {
	Daemon  string // "system containerd 1.6.20 at /run/…" or "private containerd …"
	Runtime string // name, version and path
	Proof   proof.Report
}

// Check opens a host, starts one box of the given guest, and reports its proof.
func Check(ctx context.Context, cfg Config, guest string) (CheckReport, error) {
	return CheckReport{}, errors.ErrUnsupported
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}
