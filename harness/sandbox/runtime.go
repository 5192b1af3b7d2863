package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"
)

const shimName = "io.containerd.runc.v2"

// runtimeBinary is what containerd's runc shim calls for one runtime.
type runtimeBinary struct {
	name string // Runc or Runsc
	path string // the program itself
	call string // what the shim executes: the program, or a wrapper around it
	root string // where the runtime keeps its state
}

func (r runtimeBinary) option() client.NewContainerOpts {
	return client.WithRuntime(shimName, &options.Options{BinaryName: r.call, Root: r.root})
}

// version is the first line that the program says about itself.
func (r runtimeBinary) version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, r.path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", r.path, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return fmt.Sprintf("%s (%s)", line, r.path), nil
}

// runscFlags: OCI seccomp is off by default in gVisor, which would leave out
// the rule that only Unix sockets exist. systrap is the platform that works
// inside virtual machines too. The root file system is read-only, so no
// writable layer is wanted over it.
const runscFlags = "--oci-seccomp --network=none --platform=systrap --overlay2=none"

func findRuntime(cfg Config, place *instance) (runtimeBinary, error) {
	r := runtimeBinary{name: cfg.Runtime, path: cfg.RuntimePath, root: place.path("rt")}
	var err error
	if r.path == "" {
		r.path, err = lookPath(r.name)
	} else {
		r.path, err = filepath.Abs(r.path)
	}
	if err == nil {
		err = unix.Access(r.path, unix.X_OK)
	}
	if err != nil {
		how := "apt-get install runc"
		if r.name == Runsc {
			how = "make bin/runsc"
		}
		return r, fmt.Errorf("%w: the runtime %s is missing (%w); get it with: %s", ErrUnavailable, r.name, err, how)
	}
	r.call = r.path
	if r.name == Runsc {
		r.call = place.path("runsc")
		script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$@\"\n", strings.ReplaceAll(r.path, "'", `'\''`), runscFlags)
		if err := os.WriteFile(r.call, []byte(script), 0o700); err != nil {
			return r, fmt.Errorf("writing the runtime's wrapper: %w", err)
		}
	}
	return r, nil
}

// lookPath is exec.LookPath that also knows root's folders, which a plain login
// may not have in its PATH.
func lookPath(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return filepath.Abs(p)
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin"} {
		if p := filepath.Join(dir, name); unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// pickSnapshotter prefers overlayfs, and copies files where the state directory
// lies on a file system that overlayfs cannot use.
func pickSnapshotter(ctx context.Context, c *client.Client) (string, error) {
	got, err := c.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return "", fmt.Errorf("asking containerd for its snapshotters: %w", err)
	}
	works := map[string]bool{}
	for _, p := range got.Plugins {
		works[p.ID] = p.InitErr == nil
	}
	for _, name := range []string{"overlayfs", "native"} {
		if works[name] {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: containerd offers neither the overlayfs nor the native snapshotter", ErrUnavailable)
}

// swapAccounting reports whether the kernel can limit swap per cgroup.
func swapAccounting() bool {
	if unifiedCgroups() {
		return true
	}
	_, err := os.Stat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
	return !errors.Is(err, os.ErrNotExist)
}

func unifiedCgroups() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails, crypto/rand
	return hex.EncodeToString(b)
}
