package sandbox

import (
	"context"
	"fmt"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/harness/sandbox/guest"
)

// goCrash is the exit code of Go's runtime for panics, fatal errors and fatal
// signals in C code.
const goCrash = 2

// classify says how the box ended. It asks containerd for the box's memory
// counters, which outlive the guest but not the task.
func (b *Box) classify(ctx context.Context, reason *end, status client.ExitStatus, known bool) End {
	code := int(status.ExitCode())
	lost := !known || status.Error() != nil
	if reason != nil {
		e := End{Kind: reason.kind, ExitCode: code, Detail: reason.detail}
		if lost {
			e.ExitCode = 128 + int(unix.SIGKILL)
		}
		return e
	}
	if lost {
		return End{Kind: Lost, ExitCode: -1, Detail: fmt.Sprintf("containerd cannot say how it ended: %v", status.Error())}
	}
	kills, err := b.oomKills(ctx)
	return judgeExit(code, kills, err)
}

// judgeExit tells apart the ends that the host did not cause.
func judgeExit(code int, oomKills uint64, oomErr error) End {
	switch {
	case oomErr == nil && oomKills > 0:
		return End{OOM, code, fmt.Sprintf("the kernel killed it at its memory limit (%d kills)", oomKills)}
	case code == guest.ExitSilent:
		return End{Exited, code, "it heard nothing from the host and left"}
	case code == goCrash:
		return End{Crashed, code, "Go's runtime gave up: a panic, or a fatal signal in C code"}
	case code > 128 && code <= 128+64:
		sig := unix.Signal(code - 128)
		e := End{Crashed, code, fmt.Sprintf("killed by %s", unix.SignalName(sig))}
		if sig == unix.SIGKILL && oomErr != nil {
			e.Detail += fmt.Sprintf("; whether for memory is unknown: %v", oomErr)
		}
		return e
	default:
		return End{Exited, code, "the guest left by itself"}
	}
}

// oomKills is how many processes of the box the kernel has killed for memory.
func (b *Box) oomKills(ctx context.Context) (uint64, error) {
	m, err := b.task.Metrics(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking for the memory counters: %w", err)
	}
	v, err := typeurl.UnmarshalAny(m.Data)
	if err != nil {
		return 0, fmt.Errorf("reading the memory counters: %w", err)
	}
	switch v := v.(type) {
	case *cgroup1.Metrics:
		return v.GetMemoryOomControl().GetOomKill(), nil
	case *cgroup2.Metrics:
		return v.GetMemoryEvents().GetOomKill(), nil
	}
	return 0, fmt.Errorf("memory counters of the unknown type %T", v)
}
