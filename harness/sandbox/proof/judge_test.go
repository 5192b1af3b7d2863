package proof

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sealed is what a perfect box shows.
func sealed(w Walls) []Observation {
	var seen []Observation
	for _, e := range expectations(w) {
		accept := e.runc
		if w.Runtime == "runsc" && e.runsc != same {
			accept = e.runsc
		}
		first, _, _ := strings.Cut(accept, "|")
		seen = append(seen, Observation{e.name, first})
	}
	return seen
}

var walls = Walls{Runtime: "runc", Memory: 1 << 30, Pids: 64, Quota: 50000, Tmp: 4096, NoFile: 256, Weights: true}

func TestJudgeAcceptsOnlyASealedBox(t *testing.T) {
	for _, runtime := range []string{"runc", "runsc"} {
		w := walls
		w.Runtime = runtime
		if r := Judge(w, sealed(w)); !r.OK() || len(r.Checks) < 100 {
			t.Errorf("%s: %d checks, failed %v", runtime, len(r.Checks), r.Failed())
		}
		for i, o := range sealed(w) {
			broken := sealed(w)
			broken[i].Got = "escaped"
			missing := slices.Delete(sealed(w), i, i+1)
			for how, seen := range map[string][]Observation{"broken": broken, "missing": missing} {
				if f := Judge(w, seen).Failed(); len(f) != 1 || f[0].Name != o.Name {
					t.Errorf("%s: with %s %s the failed checks are %v", runtime, o.Name, how, f)
				}
			}
		}
	}
}

func TestJudgeRefusesStrangers(t *testing.T) {
	if Judge(walls, nil).OK() || (Report{}).OK() {
		t.Error("silence is accepted")
	}
	strange := append(sealed(walls), Observation{"call/\x1b[31mnew", strings.Repeat("é", 500)})
	r := Judge(walls, strange)
	f := r.Failed()
	if len(f) != 1 || len(f[0].Got) > 200 || strings.ContainsAny(f[0].Name+f[0].Got, "\x1bé") {
		t.Errorf("failed checks %+q", fmt.Sprint(f))
	}
	worse := Observation{"call/bpf", "ok"}
	if Judge(walls, append(sealed(walls), worse)).OK() || Judge(walls, append([]Observation{worse}, sealed(walls)...)).OK() {
		t.Error("of two answers the worse is overlooked")
	}
}

func TestJudgeIsSortedAndUnique(t *testing.T) {
	r := Judge(walls, sealed(walls))
	for i := 1; i < len(r.Checks); i++ {
		if r.Checks[i-1].Name >= r.Checks[i].Name {
			t.Errorf("%q stands before %q", r.Checks[i-1].Name, r.Checks[i].Name)
		}
	}
}

func TestForks(t *testing.T) {
	if n := walls.Forks(); n < 64 {
		t.Errorf("%d children cannot meet a limit of 64", n)
	}
	if n := (Walls{Runtime: "runsc", Pids: 2000}).Forks(); n > 16 {
		t.Errorf("%d children would end a box under gVisor", n)
	}
}
