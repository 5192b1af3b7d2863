// Package proof says what a box must show before it may be asked anything.
//
// In go the observations that a guest made of its own walls; out comes a
// [Report] of checks, each with what was wanted and what was seen. It is pure
// and holds the expectations as data. It will not run anything: package guest
// observes, package sandbox asks.
package proof

// Observation is one thing that the guest saw when it tried an escape or read
// a property of its box. Names are unique in a self-test; Got never holds
// counts, times or process ids, so that equal boxes observe equal bytes.
type Observation struct {
	Name string `json:"name"`
	Got  string `json:"got"`
}

// Check is a judged observation.
type Check struct {
	Name string `json:"name"`
	// Want lists the acceptable observations, joined by "|".
	Want string `json:"want"`
	// Got is what the guest saw: printable ASCII, at most 200 bytes, empty
	// when the guest said nothing about this check.
	Got string `json:"got"`
	OK  bool   `json:"ok"`
}

// Report is the judged self-test of one box, checks sorted by name.
type Report struct {
	Runtime string  `json:"runtime"`
	Checks  []Check `json:"checks"`
}

// OK reports whether every check held. A report without checks is not OK.
func (r Report) OK() bool { return len(r.Checks) > 0 && len(r.Failed()) == 0 }

// Failed returns the checks that did not hold.
func (r Report) Failed() []Check {
	var failed []Check
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c)
		}
	}
	return failed
}
