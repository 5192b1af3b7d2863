package metadata

import (
	"fmt"
	"strings"
)

// newBranches are those of c that b has not.
func newBranches(b, c *source) []branch {
	old := map[branch]bool{}
	for _, x := range b.branches {
		old[x] = true
	}
	var out []branch
	for _, x := range c.branches {
		if !old[x] {
			out = append(out, x)
		}
	}
	return out
}

func news(what string, before, after []string) string {
	old := map[string]bool{}
	for _, s := range before {
		old[s] = true
	}
	var list []string
	for _, s := range after {
		if !old[s] {
			list = append(list, quote(s))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "New " + what + ": " + some(list, 8) + ". "
}

// lineDiff is a bounded line difference of two templates.
func lineDiff(b, c string) string {
	split := func(s string) []string { return strings.Split(cut(s, maxTemplate), "\n") }
	var lines []string
	for _, s := range compare(split(b), split(c)) {
		for _, l := range s.del {
			lines = append(lines, "- "+quote(l))
		}
		for _, l := range s.ins {
			lines = append(lines, "+ "+quote(l))
		}
	}
	if n := len(lines); n > 40 {
		lines = append(lines[:40], fmt.Sprintf("(%d lines more)", n-40))
	}
	return "Line by line:\n" + strings.Join(lines, "\n")
}

func describe(hs []hunk) string {
	var out []string
	for _, h := range hs {
		switch {
		case h.del == "":
			out = append(out, "adds "+quote(readable(h.ins)))
		case h.ins == "":
			out = append(out, "drops "+quote(readable(h.del)))
		default:
			out = append(out, quote(readable(h.del))+" becomes "+quote(readable(h.ins)))
		}
	}
	if len(out) == 0 {
		return "one of the two refuses"
	}
	return some(out, 4)
}

func names(list []*shot) []string {
	var out []string
	for _, s := range list {
		out = append(out, cut(s.group, 60))
	}
	return out
}
