package main

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/policies"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
)

// decided is the JSON of decide.
type decided struct {
	Verdict record.Verdict `json:"verdict"`
	// Recorded is the verdict in the report; Agrees whether it is the same, and
	// SamePolicy whether it was made by the same policy file.
	Recorded   record.Verdict `json:"recorded"`
	SamePolicy bool           `json:"same_policy"`
	Agrees     bool           `json:"agrees"`
}

// errVerdict is a report that contradicts itself: exit code 1.
var errVerdict = errors.New("the report's verdict does not follow from its content")

func decideCommand(a *app) *cobra.Command {
	var policy string
	var asJSON bool
	c := &cobra.Command{
		Use:   "decide REPORT.parquet --policy POLICY",
		Short: "Make the decision again from a report alone",
		Long: `decide applies a policy to what a report holds. By the policy that the report was
decided with, the verdict has to come out the same, to the last word: a report
whose verdict does not follow from its content is refused. By another policy it
says what that one would have decided.

Without --policy it is the shipped policy of the name that the report gives.

Exit codes: 0 approve, 1 reject, or the report's verdict does not follow from its
content; 3 escalate; 2 report or policy cannot be used.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return decideAgain(a, args[0], policy, asJSON) },
	}
	c.Flags().StringVar(&policy, "policy", "", "policy file, or the name of one that is shipped")
	c.Flags().BoolVar(&asJSON, "json", false, "print both verdicts as JSON")
	return c
}

func decideAgain(a *app, path, name string, asJSON bool) error {
	r, err := reports.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	d, err := again(r.Run(), name)
	if err != nil {
		return err
	}
	if err := d.print(a, asJSON); err != nil {
		return err
	}
	if d.SamePolicy && !d.Agrees {
		return fmt.Errorf("%s: %w", path, errVerdict)
	}
	return codeOf(d.Verdict.Outcome)
}

// again computes a report's verdict by the policy of that name, by default the
// shipped one that the report names.
func again(run *record.Run, name string) (*decided, error) {
	if name == "" {
		if name = run.Verdict.Policy; !shipped(name) {
			return nil, usagef("the report was decided by the policy %q, which is not shipped: name its file with --policy", name)
		}
	}
	p, err := decide.Load(name)
	if err != nil {
		return nil, err
	}
	if p.Alpha != run.Meta.Alpha {
		return nil, usagef("%s shares an error rate of %v, and the findings of this report were adjusted to %v: run diff again with --policy %s",
			name, p.Alpha, run.Meta.Alpha, name)
	}
	d := &decided{Verdict: p.Decide(run), Recorded: run.Verdict}
	d.SamePolicy = d.Verdict.Digest == d.Recorded.Digest
	d.Agrees = reflect.DeepEqual(d.Verdict, d.Recorded)
	return d, nil
}

func shipped(name string) bool {
	_, err := policies.Source(name)
	return err == nil
}

func (d *decided) print(a *app, asJSON bool) error {
	if asJSON {
		return printJSON(a, d)
	}
	fmt.Fprintf(a.Stdout, "%s  by %s %s\n", d.Verdict.Outcome, visible(d.Verdict.Policy), d.Verdict.Digest)
	for _, r := range d.Verdict.Reasons {
		fmt.Fprintf(a.Stdout, "  %s: %s: %s\n", r.Outcome, visible(r.Rule), visible(r.Message))
	}
	switch {
	case d.Agrees:
		fmt.Fprintln(a.Stdout, "the report says the same")
	case d.SamePolicy:
		fmt.Fprintf(a.Stdout, "the report says %s, with other reasons\n", visible(string(d.Recorded.Outcome)))
	default:
		fmt.Fprintf(a.Stdout, "the report was decided by another policy, %s %s, and says %s\n",
			visible(d.Recorded.Policy), visible(d.Recorded.Digest), d.Recorded.Outcome)
	}
	return nil
}
