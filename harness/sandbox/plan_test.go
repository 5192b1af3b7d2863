package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "write the golden files")

func TestPlanGolden(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the golden files hold the system calls of amd64")
	}
	full := Spec{
		Name: "candidate", Guest: "/opt/modelserver", Args: []string{"-threads", "2"},
		Files: []File{
			{Host: "/models/cand.gguf", Box: "/weights/model.gguf"},
			{Host: "/models/lora.gguf", Box: "/weights/adapter.gguf"},
		},
		Limits: Limits{Memory: 3 << 30, Tmp: 1 << 20, CPUs: 1.5, Pids: 300, NoFile: 64},
		Life:   time.Minute,
	}
	for _, tt := range []struct {
		name  string
		spec  Spec
		where Where
	}{
		{"runc-defaults", Spec{Name: "a", Guest: "/guest"}, Where{ID: "wb-1", Runtime: Runc, NetNS: "/proc/1/fd/3"}},
		{"runc-full", full, Where{ID: "wb-2", Runtime: Runc, NetNS: "/proc/1/fd/3", Swap: true}},
		{"runsc-full", full, Where{ID: "wb-3", Runtime: Runsc, NetNS: "/proc/1/fd/3", Swap: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := Plan(tt.spec, tt.where)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(plan, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", tt.name+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the plan differs from %s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
			}
		})
	}
}

// TestSeccompIsStrict states the promise apart from the list that holds it.
func TestSeccompIsStrict(t *testing.T) {
	for _, runtime := range []string{Runc, Runsc} {
		t.Run(runtime, func(t *testing.T) { seccompIsStrict(t, strictSeccomp(runtime)) })
	}
}

func seccompIsStrict(t *testing.T, p *specs.LinuxSeccomp) {
	if len(p.Architectures) != 1 || p.DefaultAction != specs.ActErrno {
		t.Errorf("architectures %v, default %s", p.Architectures, p.DefaultAction)
	}
	allowed := map[string][]specs.LinuxSyscall{}
	for _, r := range p.Syscalls {
		for _, n := range r.Names {
			if r.Action == specs.ActAllow {
				allowed[n] = append(allowed[n], r)
			}
		}
	}
	for _, n := range []string{"read", "write", "mmap", "futex", "clone", "execve", "exit_group", "epoll_pwait", "sched_getaffinity"} {
		if len(allowed[n]) == 0 {
			t.Errorf("%s is not allowed; no guest can live without it", n)
		}
	}
	for _, n := range []string{"add_key", "bind", "bpf", "chroot", "fsopen", "init_module", "io_uring_setup", "kexec_load", "keyctl", "mount", "open_by_handle_at", "perf_event_open", "pidfd_getfd", "pivot_root", "process_vm_readv", "ptrace", "setns", "socketcall", "unshare", "userfaultfd"} {
		if len(allowed[n]) > 0 {
			t.Errorf("%s is allowed", n)
		}
	}
	if s := allowed["socket"]; len(s) != 1 || len(s[0].Args) != 1 || s[0].Args[0].Value != 1 || s[0].Args[0].Op != specs.OpEqualTo {
		t.Errorf("socket is allowed by %+v, want only AF_UNIX", s)
	}
	if len(allowed["clone3"]) > 0 {
		t.Error("clone3 is allowed; its flags cannot be filtered")
	}
}

func TestPlanRefuses(t *testing.T) {
	ok := Spec{Name: "a", Guest: "/guest"}
	for name, change := range map[string]func(*Spec){
		"empty name":        func(s *Spec) { s.Name = "" },
		"name with a slash": func(s *Spec) { s.Name = "a/b" },
		"long name":         func(s *Spec) { s.Name = strings.Repeat("a", 33) },
		"relative guest":    func(s *Spec) { s.Guest = "guest" },
		"relative file":     func(s *Spec) { s.Files = []File{{Host: "m", Box: "/weights/m"}} },
		"file outside":      func(s *Spec) { s.Files = []File{{Host: "/m", Box: "/guest"}} },
		"file in a folder":  func(s *Spec) { s.Files = []File{{Host: "/m", Box: "/weights/a/b"}} },
		"file dot dot":      func(s *Spec) { s.Files = []File{{Host: "/m", Box: "/weights/.."}} },
		"file twice":        func(s *Spec) { s.Files = []File{{"/m", "/weights/m"}, {"/n", "/weights/m"}} },
		"NUL in file":       func(s *Spec) { s.Files = []File{{"/m\x00", "/weights/m"}} },
		"little memory":     func(s *Spec) { s.Memory = 1 << 20 },
		"negative memory":   func(s *Spec) { s.Memory = -1 },
		"tmp over memory":   func(s *Spec) { s.Memory, s.Tmp = 64<<20, 65<<20 },
		"no CPU":            func(s *Spec) { s.CPUs = -1 },
		"few processes":     func(s *Spec) { s.Pids = 3 },
		"negative life":     func(s *Spec) { s.Life = -1 },
	} {
		s := ok
		change(&s)
		if _, err := Plan(s, Where{Runtime: Runc}); !errors.Is(err, ErrBadSpec) {
			t.Errorf("%s: %v, want ErrBadSpec", name, err)
		}
	}
	if _, err := Plan(ok, Where{Runtime: Runc}); err != nil {
		t.Errorf("the spec that the cases change is refused itself: %v", err)
	}
}
