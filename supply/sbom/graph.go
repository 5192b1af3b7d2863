package sbom

import (
	"maps"
	"slices"
	"strings"
)

// graph is rule (d): the dependency graph names every component once, leads
// nowhere else, and has no cycle.
func (c *checker) graph() {
	for _, ref := range slices.Sorted(maps.Keys(c.refs)) {
		if n := c.refs[ref]; n > 1 {
			c.problem(RuleRefTwice, ref, "%d parts of the BOM have this bom-ref; it has to be unique", n)
		}
	}
	edges := map[string][]string{}
	var order []string
	for _, d := range c.bom.Dependencies {
		if _, twice := edges[d.Ref]; twice {
			c.problem(RuleGraph, d.Ref, "the dependency graph has two entries for it")
		} else {
			order = append(order, d.Ref)
		}
		// What a component provides may well depend on it: no edge for cycles.
		edges[d.Ref] = append(edges[d.Ref], d.DependsOn...)
		if c.refs[d.Ref] == 0 {
			c.problem(RuleGraph, d.Ref, "the dependency graph names it, and no component has this bom-ref")
		}
		for _, to := range slices.Concat(d.DependsOn, d.Provides) {
			if c.refs[to] == 0 && !strings.HasPrefix(to, "urn:cdx:") {
				c.problem(RuleGraph, to, "%s depends on it, and no component has this bom-ref", shown(d.Ref))
			}
		}
	}
	c.complete(edges)
	if cycle := findCycle(order, edges); cycle != nil {
		c.problem(RuleGraph, cycle[0], "the dependencies go in a circle: %s", circle(cycle))
	}
}

func (c *checker) complete(edges map[string][]string) {
	if len(c.bom.Dependencies) == 0 {
		c.gap(RuleGraphIncomplete, "dependencies", "the BOM has no dependency graph")
		return
	}
	c.each(func(x *component, _ string) {
		_, ok := edges[x.Ref]
		switch {
		case ok:
		case x.Ref == "":
			c.gap(RuleGraphIncomplete, x.full(), "the component has no bom-ref, so the dependency graph cannot name it")
		default:
			c.gap(RuleGraphIncomplete, x.Ref, "the dependency graph leaves it out")
		}
	})
}

// findCycle gives the refs of one cycle, or nil. It keeps its own stack: the
// depth is the document's choice.
func findCycle(order []string, edges map[string][]string) []string {
	const (
		onPath = 1
		done   = 2
	)
	type frame struct {
		ref  string
		next int // index into its edges
	}
	state := make(map[string]int, len(order))
	for _, start := range order {
		if state[start] != 0 {
			continue
		}
		stack := []frame{{ref: start}}
		state[start] = onPath
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == len(edges[top.ref]) {
				state[top.ref] = done
				stack = stack[:len(stack)-1]
				continue
			}
			to := edges[top.ref][top.next]
			top.next++
			switch state[to] {
			case onPath:
				i := slices.IndexFunc(stack, func(f frame) bool { return f.ref == to })
				var cycle []string
				for _, f := range stack[i:] {
					cycle = append(cycle, f.ref)
				}
				return cycle
			case 0:
				state[to] = onPath
				stack = append(stack, frame{ref: to})
			}
		}
	}
	return nil
}

func circle(cycle []string) string {
	const most = 8
	var parts []string
	for _, r := range cycle[:min(len(cycle), most)] {
		parts = append(parts, shown(r))
	}
	if len(cycle) > most {
		parts = append(parts, "…")
	}
	return strings.Join(append(parts, shown(cycle[0])), " -> ")
}
