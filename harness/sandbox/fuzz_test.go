package sandbox

import (
	"encoding/json"
	"testing"
	"unicode"

	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

func FuzzParseOwner(f *testing.F) {
	f.Add("boot pid:[1] 2 3")
	f.Add("boot pid:[1] -2 18446744073709551616")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseOwner(s)
		if err != nil {
			return
		}
		if back, err := parseOwner(o.String()); err != nil || back != o {
			t.Errorf("%q reads as %v, which reads back as %v, %v", s, o, back, err)
		}
	})
}

// FuzzProof: whatever a guest says, the report is printable, bounded, and good
// only if nothing is missing.
func FuzzProof(f *testing.F) {
	f.Add([]byte(`[{"name":"call/bpf","got":"EPERM"}]`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[{"name":"\u0000","got":"\u001b[2J"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var seen []proof.Observation
		if json.Unmarshal(b, &seen) != nil {
			return
		}
		r := proof.Judge(proof.Walls{Runtime: Runc, Memory: 1, Pids: 2, Quota: 3, Tmp: 4, NoFile: 5}, seen)
		if r.OK() && len(seen) < 100 {
			t.Errorf("%d observations prove a box", len(seen))
		}
		for _, c := range r.Checks {
			for _, s := range []string{c.Name, c.Got} {
				for _, c := range s {
					if c > unicode.MaxASCII || !unicode.IsPrint(c) {
						t.Fatalf("%q is not printable", s)
					}
				}
			}
		}
	})
}
