// Package guest is the inside of a box: it takes over standard input and
// output as the only wire to the host, proves the walls, serves a handler over
// HTTP/2, and ends the process when the host falls silent.
//
// In go an http.Handler and options; out comes nothing but answers. It will
// not listen anywhere else, and it passes no request to the handler before the
// host has accepted the self-test.
package guest

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Options say how a guest serves. The zero value is good.
type Options struct {
	// OnOpen runs once, in a goroutine of its own, after the host has accepted
	// the self-test and before any request reaches the handler's host. Whatever
	// touches hostile files (loading weights) belongs here or later.
	OnOpen func()
	// Silence is how long the host may send nothing before the process exits
	// with code 70. Zero means 30 s. A host that waits for a long answer still
	// sends heartbeats, so this never cuts a request that somebody waits for.
	Silence time.Duration
}

// Wire is the taken-over standard input and output.
type Wire struct{}

// TakeOver moves the wire off the standard descriptors: afterwards descriptor
// 1 is the log (stderr) and 0 is empty, so that a stray print of any library
// cannot corrupt the frames. Call it first in main, before any C code runs.
func TakeOver() (*Wire, error) { return nil, errors.ErrUnsupported }

// Serve answers on the wire until the host closes it (nil), ctx ends or the
// wire breaks. Paths below /box/ belong to this package; all else goes to h.
func (w *Wire) Serve(ctx context.Context, h http.Handler, o Options) error {
	return errors.ErrUnsupported
}
