// Package guest is the inside of a box: it takes over standard input and
// output as the only wire to the host, proves the walls, serves a handler over
// HTTP/2, and ends the process when the host falls silent.
//
// In go an http.Handler and options; out comes nothing but answers. It will
// not listen anywhere else, and it passes no request to the handler before the
// host has accepted the self-test. The whole of a guest's main is
//
//	wire, err := guest.TakeOver() // first: later prints must not reach the wire
//	if err != nil { log.Fatal(err) }
//	log.Fatal(wire.Serve(ctx, handler, guest.Options{OnOpen: load}))
//
// Exit codes: 70 is a silent host; 2 is taken by Go's runtime for panics and
// fatal signals and counts as a crash, so a guest should not use it otherwise.
package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/stdio"
)

// ExitSilent is the exit code of a guest whose host fell silent (EX_SOFTWARE in
// sysexits.h).
const ExitSilent = 70

// maxForks bounds the fork check whatever the host asks for.
const maxForks = 1 << 16

// Options say how a guest serves. The zero value is good.
type Options struct {
	// OnOpen runs once, in a goroutine of its own, when the host has accepted
	// the self-test. Whatever touches hostile files (loading weights) belongs
	// here or later. Requests may reach the handler while it still runs.
	OnOpen func()
	// Silence is how long the host may send nothing before the process exits
	// with ExitSilent. Zero means 30 s. A host that waits for a long answer still
	// sends heartbeats, so this never cuts a request that somebody waits for.
	Silence time.Duration
}

// Wire is the taken-over standard input and output.
type Wire struct{ conn *stdio.Conn }

// TakeOver moves the wire off the standard descriptors: afterwards descriptor
// 1 is the log (stderr) and 0 is empty, so that a stray print of any library
// cannot corrupt the frames. Call it first in main, before any C code runs.
func TakeOver() (*Wire, error) {
	in, err := private(0)
	if err != nil {
		return nil, fmt.Errorf("taking over standard input: %w", err)
	}
	out, err := private(1)
	if err != nil {
		return nil, fmt.Errorf("taking over standard output: %w", err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/null: %w", err)
	}
	defer unix.Close(null)
	if err := errors.Join(unix.Dup3(null, 0, 0), unix.Dup3(2, 1, 0)); err != nil {
		return nil, fmt.Errorf("replacing the standard descriptors: %w", err)
	}
	return &Wire{conn: stdio.New(in, out)}, nil
}

// private returns a close-on-exec, non-blocking copy of fd. Non-blocking lets
// the file's deadlines and Close work.
func private(fd int) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(n, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(n), fmt.Sprintf("wire%d", fd)), nil
}

// Serve answers on the wire until the host closes it or ctx ends (both nil), or
// serving fails. Paths below /box/ belong to this package; all else goes to h.
func (w *Wire) Serve(ctx context.Context, h http.Handler, o Options) error {
	if o.Silence <= 0 {
		o.Silence = 30 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:     newGate(h, o.OnOpen),
		Protocols:   stdio.Protocols(),
		HTTP2:       stdio.HTTP2(),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() {
		if watch(ctx, w.conn.Received, o.Silence) {
			fmt.Fprintf(os.Stderr, "guest: the host has been silent for %v; leaving\n", o.Silence)
			os.Exit(ExitSilent)
		}
	}()
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	err := srv.Serve(stdio.Listen(w.conn))
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving on the wire: %w", err)
}

// watch returns true once received has not grown during silence, and false when
// ctx ends. It counts ticks rather than comparing times: a box that was frozen
// or starved for a while must not believe that the host was silent meanwhile.
func watch(ctx context.Context, received func() int64, silence time.Duration) bool {
	const ticks = 8
	t := time.NewTicker(max(silence/ticks, time.Millisecond))
	defer t.Stop()
	seen, quiet := received(), 0
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
		if n := received(); n != seen {
			seen, quiet = n, 0
			continue
		}
		if quiet++; quiet >= ticks {
			return true
		}
	}
}

// gate keeps requests from the handler until the host has opened the box.
type gate struct {
	mux    *http.ServeMux
	h      http.Handler
	opened atomic.Bool
	once   sync.Once
}

func newGate(h http.Handler, onOpen func()) *gate {
	g := &gate{mux: http.NewServeMux(), h: h}
	g.mux.HandleFunc("GET "+stdio.PathPing, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	g.mux.HandleFunc("GET "+stdio.PathSelfTest, func(w http.ResponseWriter, r *http.Request) {
		if g.opened.Load() { // the fork check would disturb a working guest
			http.Error(w, "the box is already open", http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		forks, _ := strconv.Atoi(r.FormValue("forks"))
		json.NewEncoder(w).Encode(SelfTest(r.Context(), Probe{Canary: r.FormValue("canary"), Forks: min(forks, maxForks)}))
	})
	g.mux.HandleFunc("POST "+stdio.PathOpen, func(w http.ResponseWriter, _ *http.Request) {
		g.once.Do(func() {
			g.opened.Store(true)
			if onOpen != nil {
				go onOpen()
			}
		})
		w.WriteHeader(http.StatusNoContent)
	})
	g.mux.HandleFunc("/box/", http.NotFound)
	g.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !g.opened.Load() {
			http.Error(w, "the box is not proved yet", http.StatusServiceUnavailable)
			return
		}
		g.h.ServeHTTP(w, r)
	})
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }
