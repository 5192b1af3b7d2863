package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/stdio"
	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

// prove runs the self-test, judges it, and opens the box if it holds.
func (b *Box) prove(ctx context.Context) error {
	q := url.Values{
		"canary": {strings.TrimPrefix(b.host.canary.Addr().String(), "@")},
		"forks":  {strconv.Itoa(b.want.Forks())},
	}
	body := &limited{max: 1 << 20}
	if err := b.get(ctx, stdio.PathSelfTest+"?"+q.Encode(), body); err != nil {
		return fmt.Errorf("box %s: asking for its self-test: %w", b.name, err)
	}
	var seen []proof.Observation
	if err := json.Unmarshal(body.Bytes(), &seen); err != nil {
		return fmt.Errorf("box %s: reading its self-test: %w", b.name, err)
	}
	b.Proof = proof.Judge(b.want, append(seen, hostSees(int(b.task.Pid()))...))
	if !b.Proof.OK() {
		return &ProofError{Name: b.name, Report: b.Proof}
	}
	if err := b.call(ctx, http.MethodPost, stdio.PathOpen, body); err != nil {
		return fmt.Errorf("box %s: opening it: %w", b.name, err)
	}
	return nil
}

// wanted is what the plan promises, in the terms of the self-test.
func wanted(runtime string, s Spec, plan *specs.Spec) proof.Walls {
	r := plan.Linux.Resources
	return proof.Walls{
		Runtime: runtime,
		Memory:  *r.Memory.Limit,
		Pids:    *r.Pids.Limit,
		Quota:   *r.CPU.Quota,
		Tmp:     s.Tmp,
		NoFile:  s.NoFile,
		Weights: len(s.Files) > 0,
	}
}

// hostSees reads, from outside, the limits that the kernel holds for the
// process. The guest cannot see them and could not be believed about them.
func hostSees(pid int) []proof.Observation {
	if unifiedCgroups() {
		dir := filepath.Join("/sys/fs/cgroup", cgroupPath(pid, ""))
		quota, _, _ := strings.Cut(readLine(filepath.Join(dir, "cpu.max")), " ")
		return []proof.Observation{
			{Name: proof.HostMemory, Got: readLine(filepath.Join(dir, "memory.max"))},
			{Name: proof.HostPids, Got: readLine(filepath.Join(dir, "pids.max"))},
			{Name: proof.HostCPU, Got: quota},
		}
	}
	v1 := func(controller, file string) string {
		return readLine(filepath.Join("/sys/fs/cgroup", controller, cgroupPath(pid, controller), file))
	}
	return []proof.Observation{
		{Name: proof.HostMemory, Got: v1("memory", "memory.limit_in_bytes")},
		{Name: proof.HostPids, Got: v1("pids", "pids.max")},
		{Name: proof.HostCPU, Got: v1("cpu", "cpu.cfs_quota_us")},
	}
}

// cgroupPath finds the process's group in the hierarchy of a controller; "" is
// the unified one. cgroups(7): each line is ID:CONTROLLERS:PATH.
func cgroupPath(pid int, controller string) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			if c == controller {
				return f[2]
			}
		}
	}
	return ""
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// limited is a buffer that refuses to grow beyond max: its writer is hostile.
type limited struct {
	bytes.Buffer
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.max {
		return 0, fmt.Errorf("the guest sends more than %d bytes", l.max)
	}
	return l.Buffer.Write(p)
}
