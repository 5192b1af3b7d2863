// Package daemon runs a private containerd below one directory and leaves
// nothing of it behind.
//
// In goes a directory that the caller owns alone; out comes a socket address.
// The daemon dies with its parent process, even of kill -9; Stop also ends
// shims and mounts that it left. The package will not talk to containerd beyond
// asking whether its socket answers.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// MaxDir is the longest directory that leaves room for the sockets below it:
// the kernel takes paths of at most 107 bytes.
const MaxDir = 80

// config is understood by containerd 1.6 up to 2.x, which migrates it. All that
// is not needed for running a container from a local image is off.
const config = `version = 2
root = %[1]q
state = %[2]q
oom_score = 0
imports = []
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart", "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.differ.v1.erofs",
]
[grpc]
  address = %[3]q
[ttrpc]
  address = %[4]q
[debug]
  level = "warn"
`

// Daemon is a running containerd.
type Daemon struct {
	Address string
	dir     string
	stop    chan struct{}
	exited  chan error
}

// Start starts the containerd binary at bin. dir must exist and belong to the
// caller alone. It returns when the socket answers, or an error with the end of
// the daemon's log.
func Start(ctx context.Context, bin, dir string) (*Daemon, error) {
	if len(dir) > MaxDir {
		return nil, fmt.Errorf("the state directory %s is too long for Unix sockets below it: %d bytes of at most %d", dir, len(dir), MaxDir)
	}
	d := &Daemon{
		Address: filepath.Join(dir, "c.sock"),
		dir:     dir,
		stop:    make(chan struct{}),
		exited:  make(chan error, 1),
	}
	if err := KillLeftovers(dir); err != nil {
		return nil, err
	}
	// A killed daemon can hold its socket open for a moment after its command
	// line is gone from /proc; a connection to that socket would look like ours
	// being ready.
	for _, socket := range []string{d.Address, d.Address + ".ttrpc"} {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("removing the socket of an earlier daemon: %w", err)
		}
	}
	conf := filepath.Join(dir, "containerd.toml")
	text := fmt.Sprintf(config, filepath.Join(dir, "root"), filepath.Join(dir, "state"), d.Address, d.Address+".ttrpc")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing the daemon's configuration: %w", err)
	}
	log, err := os.Create(d.logPath())
	if err != nil {
		return nil, fmt.Errorf("creating the daemon's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "--config", conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = dir
	// The shim is looked up through PATH, which for root from a plain login may
	// lack the sbin folders.
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin:"+filepath.Dir(bin))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // a Ctrl-C on the terminal must reach the boxes through us, in order
		Pdeathsig: syscall.SIGKILL,
	}
	started := make(chan error, 1)
	go d.supervise(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", bin, err)
	}
	if err := d.waitReady(ctx); err != nil {
		d.Stop()
		return nil, err
	}
	return d, nil
}

// supervise starts the daemon from a thread that lives as long as the daemon:
// the parent death signal goes by the thread that forked, not by the process.
func (d *Daemon) supervise(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		d.exited <- fmt.Errorf("containerd ended by itself: %v", err)
	case <-d.stop:
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		d.exited <- nil
	}
	close(d.exited)
}

func (d *Daemon) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("unix", d.Address)
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-d.exited:
			return fmt.Errorf("%w; its log ends with: %s", err, d.logTail())
		case <-ctx.Done():
			return fmt.Errorf("containerd did not answer at %s: %w; its log ends with: %s", d.Address, ctx.Err(), d.logTail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the daemon and whatever it left running or mounted. It may be
// called once.
func (d *Daemon) Stop() error {
	close(d.stop)
	err := <-d.exited
	return errors.Join(err, KillLeftovers(d.dir))
}

func (d *Daemon) logPath() string { return filepath.Join(d.dir, "containerd.log") }

func (d *Daemon) logTail() string {
	b, _ := os.ReadFile(d.logPath())
	return strings.TrimSpace(string(b[max(0, len(b)-600):]))
}

// KillLeftovers kills the daemon and shims that a dead owner of dir left, and
// unmounts what is mounted below it.
func KillLeftovers(dir string) error {
	return errors.Join(
		KillByArg(filepath.Join(dir, "containerd.toml")),
		KillByArg(filepath.Join(dir, "c.sock")),
		UnmountBelow(dir),
	)
}

// KillByArg kills every process that has arg as one whole argument, and waits
// until they are gone. arg must be something that only our processes can have:
// a box id or a path in our own state.
func KillByArg(arg string) error {
	for try := range 200 {
		pids, err := pidsByArg(arg)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(time.Duration(min(try+1, 20)) * time.Millisecond)
	}
	return fmt.Errorf("processes with the argument %q survive SIGKILL", arg)
}

func pidsByArg(arg string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !bytes.Contains(b, []byte(arg)) {
			continue
		}
		if slices.Contains(strings.Split(string(b), "\x00"), arg) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// UnmountBelow unmounts, lazily, everything mounted below dir.
func UnmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			points = append(points, f[4])
		}
	}
	slices.Reverse(points) // later mounts may lie on earlier ones
	var errs []error
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}
