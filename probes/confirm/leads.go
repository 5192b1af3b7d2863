package confirm

import "github.com/weighbridge/weighbridge/probes"

// Triggers are at most most different suspected triggers: the best of each
// probe in turn, so that one that names many does not crowd out the others.
func Triggers(leads []probes.Lead, most int) []probes.Lead {
	var order []string
	of := map[string][]probes.Lead{}
	seen := map[string]bool{}
	for _, l := range leads {
		if l.Kind != "trigger" || l.Text == "" || seen[l.Text] {
			continue
		}
		seen[l.Text] = true
		if len(of[l.From]) == 0 {
			order = append(order, l.From)
		}
		of[l.From] = append(of[l.From], l)
	}
	var out []probes.Lead
	for i := 0; len(out) < min(most, len(seen)); i++ {
		for _, from := range order {
			if i < len(of[from]) && len(out) < most {
				out = append(out, of[from][i])
			}
		}
	}
	return out
}
