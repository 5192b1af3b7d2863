package guest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockets tries each address family that could lead out, a connection, a name,
// and a socket of the host.
func (o *observations) sockets(ctx context.Context, canary string) {
	for _, s := range []struct {
		name        string
		family, typ int
	}{
		{"alg", unix.AF_ALG, unix.SOCK_SEQPACKET},
		{"bluetooth", unix.AF_BLUETOOTH, unix.SOCK_RAW},
		{"can", unix.AF_CAN, unix.SOCK_RAW},
		{"inet raw", unix.AF_INET, unix.SOCK_RAW},
		{"inet tcp", unix.AF_INET, unix.SOCK_STREAM},
		{"inet udp", unix.AF_INET, unix.SOCK_DGRAM},
		{"inet6", unix.AF_INET6, unix.SOCK_STREAM},
		{"key", unix.AF_KEY, unix.SOCK_RAW},
		{"netlink", unix.AF_NETLINK, unix.SOCK_RAW},
		{"packet", unix.AF_PACKET, unix.SOCK_RAW},
		{"vsock", unix.AF_VSOCK, unix.SOCK_STREAM},
		{"xdp", unix.AF_XDP, unix.SOCK_RAW},
	} {
		fd, err := unix.Socket(s.family, s.typ|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		o.err("socket/"+s.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // nothing here waits in a sealed box
	defer cancel()
	dial := func(name, network, address string) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			c.Close()
		}
		o.err(name, err)
	}
	dial("connect/loopback", "tcp", "127.0.0.1:80")
	dial("connect/outside", "tcp", "192.0.2.1:80") // TEST-NET-1, RFC 5737
	dial("connect/abstract socket of the host", "unix", "@"+canary)
	dial("connect/containerd", "unix", "/run/containerd/containerd.sock")
	_, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, "weighbridge.invalid.")
	got := "answered"
	if err != nil {
		// The resolver keeps only the words of the errno.
		got = "other error"
		if strings.Contains(err.Error(), unix.EPERM.Error()) {
			got = "EPERM"
		}
	}
	o.put("connect/dns", got)
	o.put("net/interfaces", interfaces())
	if err := o.listenUnix(); err != nil {
		o.err("socket/unix listen", err)
	}
}

func (o *observations) listenUnix() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	o.err("socket/unix listen", unix.Listen(fd, 1))
	return nil
}

// interfaces lists each interface with its state, for example "lo down". The
// flags come through an ioctl that any socket family answers.
func interfaces() string {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return errnoName(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "flags unknown: " + errnoName(err)
	}
	defer unix.Close(fd)
	var all []string
	for line := range strings.Lines(string(b)) {
		name, _, ok := strings.Cut(line, ":")
		if !ok {
			continue // one of the two heading lines
		}
		name = strings.TrimSpace(name)
		req, err := unix.NewIfreq(name)
		if err == nil {
			err = ioctlIfreq(fd, unix.SIOCGIFFLAGS, req)
		}
		state := "down"
		switch {
		case err != nil:
			state = errnoName(err)
		case req.Uint16()&unix.IFF_UP != 0:
			state = "up"
		}
		all = append(all, name+" "+state)
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func ioctlIfreq(fd int, nr uintptr, req *unix.Ifreq) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), nr, uintptr(unsafe.Pointer(req))); e != 0 {
		return e
	}
	return nil
}

// files tries to write where nothing may be written, and to read what the host
// must keep for itself.
func (o *observations) files() {
	for _, dir := range []string{"/", "/dev", "/dev/shm", "/etc", "/proc", "/run", "/sys", "/weights"} {
		path := filepath.Join(dir, ".selftest")
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
			os.Remove(path)
		}
		o.err("write/"+dir, err)
	}
	for _, path := range []string{"/guest", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/self/oom_score_adj"} {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil && path == "/proc/self/oom_score_adj" {
			_, err = f.WriteString("-1000") // opening is allowed, lowering must not be
		}
		if f != nil {
			f.Close()
		}
		o.err("write/"+path, err)
	}
	// One result for all files: their names are the caller's.
	weights, _ := filepath.Glob("/weights/*")
	got := "none there"
	for _, path := range weights {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		if got = errnoName(err); err == nil {
			break
		}
	}
	o.put("write/weights files", got)
	for _, path := range []string{"/dev/kmsg", "/dev/kvm", "/dev/mem", "/dev/vda", "/dev/sda", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/timer_list", "/sys/firmware", "/sys/kernel/debug", "/var/run/secrets"} {
		o.put("read/"+path, readSome(path))
	}
	for name, typ := range map[string]uint32{"block": unix.S_IFBLK, "char": unix.S_IFCHR} {
		err := unix.Mknod("/tmp/.selftest-"+name, typ|0o600, int(unix.Mkdev(1, 1)))
		if err == nil {
			os.Remove("/tmp/.selftest-" + name)
		}
		o.err("mknod/"+name, err)
	}
}

// readSome says whether anything at all can be read at path.
func readSome(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return errnoName(err)
	}
	defer f.Close()
	if names, err := f.Readdirnames(1); err == nil && len(names) > 0 {
		return "entries"
	}
	switch n, err := f.Read(make([]byte, 1)); {
	case n > 0:
		return "bytes"
	case err == io.EOF:
		return "empty"
	default:
		if errnoName(err) == "EISDIR" {
			return "empty"
		}
		return errnoName(err)
	}
}

// properties reads what the kernel says about this process and its world.
func (o *observations) properties() {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		o.err("status", err)
	}
	for line := range strings.Lines(string(status)) {
		key, val, _ := strings.Cut(line, ":")
		switch key {
		case "CapAmb", "CapBnd", "CapEff", "CapInh", "CapPrm", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Uid":
			o.put("status/"+key, strings.Join(strings.Fields(val), " "))
		}
	}
	// gVisor's status file lacks this line; the call is the authority.
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	o.put("prctl/no new privileges", value(nnp, err))
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	o.put("prctl/seccomp", value(mode, err))

	var core unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	o.put("limit/core", value(int(core.Max), err))
	var files unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	o.put("limit/open files", value(int(files.Max), err))
	var tmp unix.Statfs_t
	err = unix.Statfs("/tmp", &tmp)
	o.put("limit/tmp", value(int(tmp.Blocks)*int(tmp.Bsize), err))

	host, err := os.Hostname()
	o.put("world/hostname", orErr(host, err))
	o.put("world/processes", processes())
	o.put("world/devices", devices())
	o.put("world/writable mounts", writableMounts())
	o.put("world/descriptors", descriptors())
	cg, err := os.ReadFile("/proc/self/cgroup")
	o.put("world/cgroup", orErr(cgroups(string(cg)), err))
}

func value(n int, err error) string { return orErr(strconv.Itoa(n), err) }

func orErr(s string, err error) string {
	if err != nil {
		return errnoName(err)
	}
	return s
}

// processes says whether any process but this one can be seen.
func processes() string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return errnoName(err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			return "others"
		}
	}
	return "only the guest"
}

// devices lists the character and block devices below /dev.
func devices() string {
	var names []string
	err := filepath.WalkDir("/dev", func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type()&os.ModeDevice != 0 {
			names = append(names, strings.TrimPrefix(path, "/dev/"))
		}
		return nil
	})
	if err != nil {
		return errnoName(err)
	}
	return strings.Join(names, " ") // WalkDir is sorted
}

// writableMounts lists the mount points without the ro flag that this user
// could create files on, as far as the mount table says.
func writableMounts() string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return errnoName(err)
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line) // proc(5): ID parent dev root point options …
		if len(f) < 6 || slices.Contains(strings.Split(f[5], ","), "ro") || strings.HasPrefix(f[4], "/proc") {
			continue
		}
		if unix.Access(f[4], unix.W_OK) == nil {
			if !slices.Contains(strings.Split(f[5], ","), "noexec") {
				f[4] += " (exec)"
			}
			points = append(points, f[4])
		}
	}
	slices.Sort(points)
	return strings.Join(slices.Compact(points), " ")
}

// descriptors lists the kinds of what descriptors this process holds: a handle
// on a directory or on a host file would be a way out (CVE-2024-21626).
func descriptors() string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return errnoName(err)
	}
	var kinds []string
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil {
			continue // the handle that read this directory
		}
		switch link, _ := os.Readlink("/proc/self/fd/" + e.Name()); {
		case strings.HasPrefix(link, "anon_inode:"), strings.HasPrefix(link, "/proc/self/fd"), strings.HasSuffix(link, "/fd"):
		case link == "/dev/null":
		case st.Mode&unix.S_IFMT == unix.S_IFIFO:
			kinds = append(kinds, "pipe")
		default:
			kinds = append(kinds, fmt.Sprintf("type %o", st.Mode&unix.S_IFMT))
		}
	}
	slices.Sort(kinds)
	return strings.Join(slices.Compact(kinds), " ")
}

// cgroups is "/" when every hierarchy shows its root, as in a cgroup namespace.
func cgroups(s string) string {
	for line := range strings.Lines(s) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 && f[2] != "/" {
			return f[2]
		}
	}
	return "/"
}
