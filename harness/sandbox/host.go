package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/daemon"
)

const (
	systemSocket = "/run/containerd/containerd.sock"
	// Private is the Config.Address that asks for a private daemon.
	Private = "private"
	// containerd's namespace keeps our boxes and images apart from others'.
	ctrNamespace    = "weighbridge"
	defaultStateDir = "/run/weighbridge"
	maxStateDir     = 60
	// removeTimeout bounds the removal of one box, whatever its start was
	// given. Past it the runtime's processes have been killed more than once.
	removeTimeout = 30 * time.Second
)

// Host starts boxes. It is safe for concurrent use.
type Host struct {
	cfg    Config
	place  *instance
	daemon *daemon.Daemon // nil when the containerd is not ours
	client *client.Client
	addr   string // of containerd's socket
	run    runtimeBinary
	snap   string // snapshotter
	swap   bool
	me     owner
	canary net.Listener // an abstract socket of the host that no box may reach

	images imageCache

	mu     sync.Mutex
	closed bool
	boxes  map[string]*Box
	starts sync.WaitGroup
}

// Open finds or starts containerd, checks the runtime, and removes what dead
// owners left behind. Errors: ErrUnavailable, ErrBadSpec.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: they need root (namespaces, mounts, cgroups) and this is user %d; run weighbridge as root, for example with sudo", ErrUnavailable, os.Geteuid())
	}
	place, err := takeInstance(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	h, err := openAt(ctx, cfg, place)
	if err != nil {
		return nil, err
	}
	// Other places whose owners died hold boxes too, where each had a daemon.
	for {
		left, err := leftInstance(cfg.StateDir)
		if err == nil && left == nil {
			return h, nil
		}
		if err == nil {
			var other *Host
			if other, err = openAt(ctx, cfg, left); err == nil {
				err = other.Close()
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tidying what another run left: %w", err), h.Close())
		}
	}
}

// openAt opens a host in a place that the caller has locked. It owns the place
// from here on.
func openAt(ctx context.Context, cfg Config, place *instance) (_ *Host, err error) {
	h := &Host{cfg: cfg, place: place, boxes: map[string]*Box{}, swap: swapAccounting()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.me, err = self(); err != nil {
		return nil, err
	}
	if h.run, err = findRuntime(cfg, place); err != nil {
		return nil, err
	}
	if h.canary, err = net.Listen("unix", "@weighbridge-"+randomHex(8)); err != nil {
		return nil, fmt.Errorf("opening the canary socket: %w", err)
	}
	if err := h.connect(ctx); err != nil {
		return nil, err
	}
	if h.snap, err = pickSnapshotter(ctx, h.client); err != nil {
		return nil, err
	}
	if err := h.reap(ctx); err != nil {
		return nil, fmt.Errorf("removing the boxes of dead owners: %w", err)
	}
	return h, nil
}

func (c Config) complete() (Config, error) {
	if c.StateDir == "" {
		c.StateDir = defaultStateDir
	}
	abs, err := filepath.Abs(c.StateDir)
	if err != nil {
		return c, fmt.Errorf("%w: state directory: %w", ErrBadSpec, err)
	}
	c.StateDir = abs
	if len(c.StateDir) > maxStateDir {
		return c, fmt.Errorf("%w: the state directory %s has %d bytes; the sockets in it allow %d", ErrBadSpec, c.StateDir, len(c.StateDir), maxStateDir)
	}
	if c.Runtime == "" {
		c.Runtime = Runc
	}
	if c.Runtime != Runc && c.Runtime != Runsc {
		return c, fmt.Errorf("%w: runtime %q is neither %q nor %q", ErrBadSpec, c.Runtime, Runc, Runsc)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Heartbeat, 2 * time.Second}, {&c.HangAfter, 30 * time.Second}, {&c.StartTimeout, 30 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < 0 {
			return c, fmt.Errorf("%w: negative duration %v", ErrBadSpec, *d.v)
		}
	}
	if c.HangAfter < c.Heartbeat {
		return c, fmt.Errorf("%w: a box is called hung after %v, before its second heartbeat after %v", ErrBadSpec, c.HangAfter, c.Heartbeat)
	}
	return c, nil
}

// connect finds the containerd to use, or starts one.
func (h *Host) connect(ctx context.Context) error {
	address := h.cfg.Address
	if address == "" {
		address = systemSocket
		if err := dial(address); err != nil {
			address = Private
		}
	} else if address != Private {
		if err := dial(address); err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	if address == Private {
		bin, err := lookPath("containerd")
		if err != nil {
			return fmt.Errorf("%w: no containerd answers at %s and there is no containerd program in PATH; install one with: apt-get install containerd runc", ErrUnavailable, systemSocket)
		}
		if h.daemon, err = daemon.Start(ctx, bin, h.place.dir); err != nil {
			return fmt.Errorf("%w: starting a private containerd: %w", ErrUnavailable, err)
		}
		address = h.daemon.Address
	}
	h.addr = address
	var err error
	if h.client, err = client.New(address, client.WithDefaultNamespace(ctrNamespace)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if _, err := h.client.Version(ctx); err != nil {
		return fmt.Errorf("%w: containerd at %s does not answer: %w", ErrUnavailable, address, err)
	}
	return nil
}

// dial says whether somebody listens on a Unix socket, and what to do if not.
func dial(address string) error {
	conn, err := net.DialTimeout("unix", address, 5*time.Second)
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no containerd socket at %s; start containerd or leave the address empty for a private one: %w", address, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("containerd at %s refuses this user; run as root: %w", address, err)
	default:
		return fmt.Errorf("containerd at %s does not answer; restart it or leave the address empty for a private one: %w", address, err)
	}
}

// Close stops every box that is still running and the private daemon, if any.
// Closing twice is fine.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.starts.Wait()

	var errs []error
	for _, b := range h.running() { // told first, awaited second: all die at once
		b.ask(Stopped, "the host closed")
	}
	for _, b := range h.running() {
		<-b.Done()
		errs = append(errs, b.removeErr)
	}
	if h.canary != nil {
		errs = append(errs, h.canary.Close())
	}
	if h.client != nil {
		errs = append(errs, h.client.Close())
	}
	if h.daemon != nil {
		errs = append(errs, h.daemon.Stop())
	}
	errs = append(errs, h.place.tidy())
	err := errors.Join(errs...)
	return errors.Join(err, h.place.release(err == nil && h.client != nil))
}

func (h *Host) running() []*Box {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*Box, 0, len(h.boxes))
	for _, b := range h.boxes {
		all = append(all, b)
	}
	return all
}

// Daemon describes the containerd in use, for people.
func (h *Host) Daemon(ctx context.Context) (string, error) {
	v, err := h.client.Version(ctx)
	if err != nil {
		return "", fmt.Errorf("asking containerd for its version: %w", err)
	}
	kind := "system"
	if h.daemon != nil {
		kind = "private"
	}
	return fmt.Sprintf("%s containerd %s", kind, strings.TrimPrefix(v.Version, "v")), nil
}

// Address is the socket of the containerd in use. Its namespace for boxes is
// "weighbridge": with ctr -a ADDRESS -n weighbridge one can look at them.
func (h *Host) Address() string { return h.addr }
