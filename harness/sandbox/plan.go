package sandbox

import (
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/ociarchive"
)

const (
	nobody    = 65534
	cpuPeriod = 100_000 // microseconds, the kernel's default
	// gVisor's own kernel does not count processes, and the host's limit counts
	// the sentry's threads and stubs, so it must be far above the guest's.
	runscPids = 2000
)

var defaultLimits = Limits{Memory: 1 << 30, Tmp: 64 << 20, CPUs: 1, Pids: 128, NoFile: 256}

// Where says what the machine gives to a plan.
type Where struct {
	ID      string // container id
	Runtime string // Runc or Runsc
	NetNS   string // path of a network namespace whose loopback is down
	// Swap says that the kernel can limit swap. Without it a box may swap as
	// much as the host does.
	Swap bool
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	fileForm = regexp.MustCompile(`^/weights/[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// complete returns s with defaults filled in, or says what is wrong with it.
func (s Spec) complete() (Spec, error) {
	bad := func(format string, args ...any) (Spec, error) {
		return Spec{}, fmt.Errorf("%w: box %q: %s", ErrBadSpec, s.Name, fmt.Sprintf(format, args...))
	}
	if !nameForm.MatchString(s.Name) {
		return bad("the name must be 1 to 32 of a-z, 0-9 and '-'")
	}
	if !path.IsAbs(s.Guest) {
		return bad("the guest %q is not an absolute path", s.Guest)
	}
	seen := map[string]bool{}
	for _, f := range s.Files {
		if !fileForm.MatchString(f.Box) {
			return bad("the file %q must lie directly in /weights", f.Box)
		}
		if seen[f.Box] {
			return bad("two files are to appear at %s", f.Box)
		}
		seen[f.Box] = true
		if !path.IsAbs(f.Host) || strings.ContainsRune(f.Host, 0) {
			return bad("the file %q is not an absolute path", f.Host)
		}
	}
	s.Limits = s.Limits.withDefaults()
	l := s.Limits
	// Below 6 MiB runc itself does not come up; the other bounds keep the
	// arithmetic of the kernel interfaces from wrapping.
	switch {
	case l.Memory < 16<<20 || l.Memory > 1<<50:
		return bad("memory of %d bytes is outside 16 MiB to 1 PiB", l.Memory)
	case l.Tmp < 4096 || l.Tmp > l.Memory:
		return bad("tmp of %d bytes is outside 4 KiB to the memory limit", l.Tmp)
	case !(l.CPUs >= 0.01 && l.CPUs <= 4096):
		return bad("%v CPUs are outside 0.01 to 4096", l.CPUs)
	case l.Pids < 16 || l.Pids > 32768:
		return bad("%d processes are outside 16 to 32768", l.Pids)
	case l.NoFile < 16 || l.NoFile > 1<<20:
		return bad("%d open files are outside 16 to 1048576", l.NoFile)
	}
	if s.Life == 0 {
		s.Life = time.Hour
	}
	if s.Life < 0 {
		return bad("a life of %v is already over", s.Life)
	}
	return s, nil
}

func (l Limits) withDefaults() Limits {
	d := defaultLimits
	if l.Memory != 0 {
		d.Memory = l.Memory
	}
	if l.Tmp != 0 {
		d.Tmp = l.Tmp
	}
	if l.CPUs != 0 {
		d.CPUs = l.CPUs
	}
	if l.Pids != 0 {
		d.Pids = l.Pids
	}
	if l.NoFile != 0 {
		d.NoFile = l.NoFile
	}
	// Rounded up to whole pages, as the kernel does, so that what is read back
	// equals what was planned.
	d.Tmp = (d.Tmp + 4095) &^ 4095
	d.Memory = (d.Memory + 4095) &^ 4095
	return d
}

// Plan returns the OCI runtime specification of a box. It is pure: it looks at
// nothing but its arguments. Errors: ErrBadSpec.
func Plan(s Spec, w Where) (*specs.Spec, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	pids := s.Pids
	if w.Runtime == Runsc {
		pids = max(pids, runscPids)
	}
	memory := &specs.LinuxMemory{Limit: &s.Memory}
	if w.Swap {
		memory.Swap = &s.Memory // memory plus swap: none is left for swap
	}
	quota, period := int64(math.Round(s.CPUs*cpuPeriod)), uint64(cpuPeriod)
	oomScore := 500 // when the host itself runs out of memory, boxes go first

	return &specs.Spec{
		Version:  specs.Version,
		Hostname: "box",
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Process: &specs.Process{
			Args: append([]string{ociarchive.GuestPath}, s.Args...),
			// The quota is invisible from inside, so Go has to be told.
			Env:             []string{fmt.Sprintf("GOMAXPROCS=%d", int(math.Ceil(s.CPUs)))},
			Cwd:             "/",
			User:            specs.User{UID: nobody, GID: nobody},
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
			OOMScoreAdj:     &oomScore,
			Rlimits: []specs.POSIXRlimit{
				{Type: "RLIMIT_CORE"},
				{Type: "RLIMIT_NOFILE", Soft: s.NoFile, Hard: s.NoFile},
			},
		},
		Mounts: mounts(s),
		Linux: &specs.Linux{
			CgroupsPath: "/weighbridge/" + w.ID,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.CgroupNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace, Path: w.NetNS},
				{Type: specs.PIDNamespace},
				{Type: specs.UTSNamespace},
			},
			Resources: &specs.LinuxResources{
				Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
				Memory:  memory,
				CPU:     &specs.LinuxCPU{Quota: &quota, Period: &period},
				Pids:    &specs.LinuxPids{Limit: &pids},
			},
			Seccomp: strictSeccomp(w.Runtime),
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg",
				"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}, nil
}

// mounts leaves out /sys, /run, /dev/shm, /dev/pts and /dev/mqueue: the only
// place that can be written is /tmp.
func mounts(s Spec) []specs.Mount {
	m := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=64k", "ro"}},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", s.Tmp)}},
	}
	files := slices.Clone(s.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Box, b.Box) })
	for _, f := range files {
		m = append(m, specs.Mount{Destination: f.Box, Type: "bind", Source: f.Host, Options: []string{"bind", "ro", "nosuid", "nodev", "noexec", "rprivate"}})
	}
	return m
}
