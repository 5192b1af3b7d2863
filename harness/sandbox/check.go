package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

// CheckReport is what Check found.
type CheckReport struct {
	Daemon  string // for example "private containerd 1.6.20"
	Runtime string // what the runtime says of its version, and its path
	Proof   proof.Report
}

// Check opens a host, starts one box of the given guest and its arguments, but
// without any files, and reports its proof. A box that is not sealed is not an error here: look at
// Proof.OK.
func Check(ctx context.Context, cfg Config, guest string, args ...string) (r CheckReport, err error) {
	h, err := Open(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if r.Daemon, err = h.Daemon(ctx); err != nil {
		return r, err
	}
	if r.Runtime, err = h.run.version(ctx); err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	b, err := h.Start(ctx, Spec{Name: "check", Guest: guest, Args: args})
	var unsealed *ProofError
	if errors.As(err, &unsealed) {
		r.Proof = unsealed.Report
		return r, nil
	}
	if err != nil {
		return r, err
	}
	r.Proof = b.Proof
	_, err = b.Stop(ctx)
	return r, err
}
