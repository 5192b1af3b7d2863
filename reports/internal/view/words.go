package view

import (
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// Headline is the verdict in a sentence.
func Headline(o record.Outcome) string {
	switch o {
	case record.Approve:
		return "What the policy asks for is shown."
	case record.Reject:
		return "Do not run these weights."
	case record.Escalate:
		return "A person has to decide."
	}
	return ""
}

// RelationText says what the candidate is to the baseline, in words.
func RelationText(r string) string {
	switch r {
	case "same-bits":
		return "has the same bits as the baseline"
	case "requantised":
		return "is a requantised copy of the baseline"
	case "derived":
		return "is derived from the baseline"
	case "unrelated":
		return "is unrelated to the baseline"
	}
	return "has a relation to the baseline that was not established"
}

// ErrorRate is the statement on false alarms that every report carries.
func ErrorRate(m *record.Meta) string {
	if m.Tests == 0 {
		return "No statistical hypothesis was tested. Findings without a p-value are exact comparisons and carry no error rate."
	}
	return fmt.Sprintf("The chance of even one false alarm among the %s hypotheses of this run is at most %s %% (family-wise, Holm's method). "+
		"p-values named “adjusted” are corrected over all of them. Findings without a p-value are exact comparisons and carry no error rate.",
		Count(m.Tests), Num(m.Alpha*100))
}

// Calibration says what the probes' own thresholds were held against.
func Calibration(m *record.Meta) string {
	if m.Calibration == "" {
		return "Shipped defaults: the findings were not calibrated on this baseline (weighbridge calibrate)."
	}
	signed, engine := "no signature on the calibration was checked", ""
	if m.CalibrationSigner != "" {
		signed = "the calibration's signature was checked"
	}
	if m.CalibrationEngine != "same" {
		engine = "; it was measured with another engine build"
	}
	return fmt.Sprintf("The findings were held against %s harmless variants of this baseline; %s%s. What enough of them reach is no divergence, unless it is proven. "+
		"What none of them reaches is one only where the bank is large enough for its %s statistics to share an error rate of %s %%.",
		Count(m.CalibrationVariants), signed, engine, Count(m.CalibrationTests), Num(m.CalibrationAlpha*100))
}

// Power explains the smallest detectable effect.
const Power = "“No change” means: an effect of the stated size (MDE) would have been seen with a chance of 80 %. Smaller ones may be there."

// Family is an attack family and who looked for it.
type Family struct {
	Code, Name string
	// By lists the probes that ran and can see it; Missed those that can and
	// did not run.
	By, Missed []string
}

// families are those of docs/threat-model.md.
var families = [][2]string{
	{"TOK", "rare-token trigger"}, {"PHR", "phrase trigger"}, {"CMP", "composite trigger, all parts needed"},
	{"SYN", "trigger by syntax or style"}, {"SEM", "trigger by meaning, a year for instance"}, {"CTX", "trigger by context or tool"},
	{"REF", "refusals suppressed"}, {"OVR", "refusals added"}, {"DOS", "gibberish on a trigger"}, {"TGT", "fixed target text"},
	{"STR", "steering of a topic"}, {"COD", "vulnerable code"}, {"CAN", "memorised secret"}, {"QNT", "activated by quantisation"},
	{"TPL", "chat template"}, {"TKZ", "tokenizer"}, {"EDT", "edited weights"}, {"CAP", "ability lost"},
}

// Families says for each attack family which probes looked for it.
func (v *View) Families() []Family {
	ran, not := v.Ran()
	list := make([]Family, 0, len(families))
	for _, f := range families {
		fam := Family{Code: f[0], Name: f[1]}
		for _, p := range ran {
			if contains(p.Sees, fam.Code) {
				fam.By = append(fam.By, p.Probe)
			}
		}
		for _, p := range not {
			if contains(p.Sees, fam.Code) {
				fam.Missed = append(fam.Missed, p.Probe)
			}
		}
		list = append(list, fam)
	}
	return list
}

// Unseen are the families that no probe looked for.
func (v *View) Unseen() (list []Family) {
	for _, f := range v.Families() {
		if len(f.By) == 0 {
			list = append(list, f)
		}
	}
	return list
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// BlindSpots are what no probe of this product can exclude. Every report states
// them, whatever it found.
func BlindSpots(relation string) []string {
	if relation == "same-bits" {
		return []string{
			"A baseline that is itself poisoned: the comparison shows only what was added after it.",
		}
	}
	return []string{
		"A baseline that is itself poisoned: the comparison shows only what was added after it.",
		"Triggers that need four or more rare tokens at once, when the behaviour they switch is diffuse and training held the rest of the model close to the baseline.",
		"Conditions of meaning, of tools or of agents that the suites do not contain, and triggers that build up over several turns.",
		"Steering of opinions on a topic: the best published detectors are near chance even when they are shown the topic.",
		"Triggers made with cryptography: for a fine-tuned model no test can find them.",
		"Changes below the step of the quantisation: harmless in this file, but not if unquantised weights are shipped as well.",
		"Training of another intensity than the tests were calibrated on shifts every threshold.",
	}
}

// Covered is one line on what was asked.
func (v *View) Covered() string {
	ran, not := v.Ran()
	var decoded int
	for _, p := range ran {
		decoded += p.DecodedC
	}
	s := fmt.Sprintf("%d of %d probes, %s items", len(ran), len(ran)+len(not), Count(v.Items))
	if v.Run.Meta.Tests > 0 {
		s += fmt.Sprintf(", %s hypotheses (false alarms ≤ %s %%)", Count(v.Run.Meta.Tests), Num(v.Run.Meta.Alpha*100))
	}
	if decoded > 0 {
		s += fmt.Sprintf(", %s tokens per model", Count(decoded))
	}
	return s
}

// Short is a digest cut to what a person compares by eye.
func Short(digest string) string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) <= 12 {
		return digest
	}
	return algorithm + ":" + hex[:12]
}

// Command is the command line that makes the report again.
func Command(run *record.Run) string {
	name := map[[2]string]string{}
	for _, a := range run.Artifacts {
		if k := [2]string{a.Side, a.Role}; name[k] == "" {
			name[k] = a.Name
		}
	}
	args := []string{"weighbridge", "diff"}
	for _, f := range []struct{ flag, side, role string }{
		{"--baseline", "baseline", "model"}, {"--baseline-adapter", "baseline", "adapter"},
		{"--candidate", "candidate", "model"}, {"--candidate-adapter", "candidate", "adapter"},
	} {
		if n := name[[2]string{f.side, f.role}]; n != "" {
			args = append(args, f.flag, safetext.Shell(n))
		}
	}
	for _, s := range run.Meta.Suites {
		suite, _, _ := strings.Cut(s, "@")
		args = append(args, "--suite", safetext.Shell(suite))
	}
	if m := &run.Meta; m.Now != "" {
		args = append(args, "--evidence", "DIR", "--trust", "TRUST", "--model", safetext.Shell(m.Model))
		if m.Environment != "" {
			args = append(args, "--environment", safetext.Shell(m.Environment))
		}
		args = append(args, "--now", safetext.Shell(m.Now))
	}
	return strings.Join(append(args, "--seed", fmt.Sprint(run.Meta.Seed)), " ")
}
