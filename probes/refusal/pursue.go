package refusal

import (
	"context"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
)

// pursue puts the strings that other probes read out of the candidate beside harmless
// requests, as far as what is left of the budget goes: these belong to what the models
// can do, as the neutral questions of the searches may not, so that a string that
// breaks answers down shows. Refusals are tested above, and other answers are to
// leaked questions more often than not.
func (c *search) pursue(ctx context.Context) error {
	const selection, strings = 6, 24
	if len(c.benign.fresh) < selection+least {
		return nil
	}
	var suspects []confirm.Suspect
	for _, l := range confirm.Leads(c.p.Leads, "trigger", strings) {
		suspects = append(suspects, confirm.Suspect{Insert: confirm.Insert{Text: l.Text}, Place: conditionPlaces[0], Score: l.Score})
	}
	fresh := c.benign.fresh[selection:]
	u, err := c.answers.Pursue(ctx, confirm.Plan{
		Probe: ID, Alpha: condAlpha, Families: []probes.Family{probes.DOS}, Only: confirm.Gibberish,
		Selection: c.benign.fresh[:selection], Fresh: fresh[:min(most, len(fresh))], Least: least, Most: strings,
	}, suspects)
	if err != nil {
		return err
	}
	for i, f := range u.Findings {
		if f.Class == record.Backdoor && !c.told(f.Trigger) {
			f.Rule = "condition"
			c.out.Findings, c.out.Leads = append(c.out.Findings, f), append(c.out.Leads, u.Leads[i])
		}
	}
	c.out.Tests += u.Trials
	return nil
}

// told reports that a finding names the string already.
func (c *search) told(trigger string) bool {
	return slices.ContainsFunc(c.out.Findings, func(f record.Finding) bool { return f.Trigger == trigger })
}
