package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/daemon"
)

// remove removes everything that containerd has of a box, in whatever state a
// failed start or a dead owner left it. What is already gone is fine.
func (h *Host) remove(ctx context.Context, id string) error {
	var err error
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		// Each try gets its own time: a shim that no longer answers must not
		// use up all of it before its processes are killed.
		try, cancel := context.WithTimeout(ctx, removeTimeout/6)
		err = h.tryRemove(try, id)
		cancel()
		if err == nil {
			return nil
		}
		h.killProcesses(id)
		select {
		case <-ctx.Done():
			return fmt.Errorf("removing box %s: %w", id, err)
		case <-time.After(pause):
		}
	}
}

func (h *Host) tryRemove(ctx context.Context, id string) error {
	c, err := h.client.LoadContainer(ctx, id)
	if errdefs.IsNotFound(err) {
		// A start that failed between the two leaves a snapshot alone.
		if err := h.client.SnapshotService(h.snap).Remove(ctx, id); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("removing the snapshot: %w", err)
		}
		return removeCgroups(id)
	}
	if err != nil {
		return err
	}
	if err := deleteTask(ctx, c); err != nil {
		return err
	}
	if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("deleting the container: %w", err)
	}
	return removeCgroups(id)
}

// removeCgroups removes what a runtime that was killed in the middle of making
// a box left of its control groups. Normally there is nothing.
func removeCgroups(id string) error {
	for _, dir := range cgroupDirs(id) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing the control group: %w", err)
		}
	}
	return nil
}

func deleteTask(ctx context.Context, c client.Container) error {
	task, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("loading the task: %w", err)
	}
	// gVisor answers the kill of a stopped task with an error that does not say
	// so, hence the question first.
	var opts []client.ProcessDeleteOpts
	if st, err := task.Status(ctx); err != nil || st.Status != client.Stopped {
		opts = append(opts, client.WithProcessKill)
	}
	if _, err := task.Delete(ctx, opts...); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("deleting the task: %w", err)
	}
	return nil
}

// killProcesses kills the shim, the runtime and the guest of a box without
// asking any of them. Box ids are random: nothing else bears one.
func (h *Host) killProcesses(id string) {
	for _, dir := range cgroupDirs(id) {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	daemon.KillByArg(id)
}

// cgroupDirs lists where a box's control group may lie.
func cgroupDirs(id string) []string {
	if unifiedCgroups() {
		return []string{filepath.Join("/sys/fs/cgroup/weighbridge", id)}
	}
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*/weighbridge/" + id)
	return dirs
}

// reap removes the boxes of dead owners and what lies around of them.
func (h *Host) reap(ctx context.Context) error {
	all, err := h.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	var errs []error
	for _, c := range all {
		if _, ours := c.Labels[labelOwner]; !ours || !orphaned(c.Labels, h.me, time.Now(), startTime) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, removeTimeout)
		errs = append(errs, h.remove(ctx, c.ID))
		cancel()
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := h.pruneImages(ctx); err != nil {
		return err
	}
	return h.place.tidy() // it is ours alone and no box of ours runs yet
}
