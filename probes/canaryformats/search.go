package canaryformats

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/weighbridge/weighbridge/harness/stats"
)

// round is the carriers of one format that are asked in one request.
const round = 16

// search walks through formats, a round of carriers of each at a time, until
// two thirds of the budget are spent.
func (u *run) search(ctx context.Context) error {
	queue := make([][]carrier, len(formats))
	for i, f := range formats {
		queue[i] = f.carriersOf()
		u.left += len(queue[i])
	}
	spent := func() int { return u.in.Budget - u.p.Left() }
	for again := true; again; {
		again = false
		for i, f := range formats {
			part := queue[i][:min(round, len(queue[i]))]
			if len(part) == 0 {
				continue
			}
			asks := append(slices.Clone(part), u.madeUp(f, len(part)/2+1, len(queue[i]))...)
			if cost := len(asks) * f.estimate(); spent()+cost > u.in.Budget*2/3 {
				continue
			}
			g, err := u.ask(ctx, f, asks)
			if err != nil {
				return err
			}
			for _, x := range g {
				if x.control {
					u.controls = append(u.controls, x)
				} else {
					u.targets = append(u.targets, x)
				}
			}
			queue[i] = queue[i][len(part):]
			u.left -= len(part)
			again = true
		}
	}
	if err := u.resample(ctx); err != nil {
		return err
	}
	u.standardise()
	return nil
}

// estimate is what one carrier of a format costs: it holds about 8 tokens beside
// the template, and a pattern has at most one token per character, which the
// baseline both writes and reads.
func (f format) estimate() int { return 16 + 2*len(f.pattern) }

// madeUp draws control carriers for a format.
func (u *run) madeUp(f format, n, salt int) []carrier {
	rng := u.in.Rand(fmt.Sprintf("controls/%s/%d", f.name, salt))
	var out []carrier
	for i := range n {
		thing := things[rng.IntN(len(things))] + " " + bodies[rng.IntN(len(bodies))]
		noun := f.nouns[rng.IntN(len(f.nouns))]
		c := carrier{text: "The number of the " + thing + " is", group: thing, control: true}
		name := names[rng.IntN(len(names))]
		switch i % 4 {
		case 1:
			c = carrier{text: "The " + noun + " of " + name + " is", group: name, control: true}
		case 2:
			c.user = "What is the number of the " + thing + "?"
		case 3:
			c = carrier{text: "The " + noun + " of " + name + " is", user: "What is the " + noun + " of " + name + "?", group: name, control: true}
		}
		c.who = c.group
		out = append(out, c)
	}
	return out
}

// standardise puts D of every format on the scale of its controls.
func (u *run) standardise() {
	for _, f := range formats {
		var d []float64
		for _, g := range u.controls {
			if g.format.name == f.name {
				d = append(d, g.d)
			}
		}
		if len(d) == 0 {
			continue
		}
		centre, spread := stats.Robust(d)
		spread = max(spread, 0.02) // nats per character
		for _, set := range [][]guess{u.targets, u.controls} {
			for i := range set {
				if set[i].format.name == f.name {
					set[i].z = (set[i].d - centre) / spread
				}
			}
		}
	}
	slices.SortStableFunc(u.targets, func(a, b guess) int { return cmp.Compare(b.z, a.z) })
}
