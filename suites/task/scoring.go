package task

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/weighbridge/weighbridge/suites/internal/yml"
)

// Filter is one step between a generated text and what is compared.
type Filter struct {
	Function string // regex, take_first, remove_whitespace, lowercase, uppercase
	Pattern  *regexp.Regexp
	Select   int    // which match of Pattern, negative from the end
	Fallback string // when Pattern has no such match
}

func (r *reader) scoring(root *yml.Node) error {
	t := r.task
	t.Metric = map[Output]Metric{Choice: Acc, Likelihood: Acc, Generate: Exact}[t.Output]
	if err := r.metric(root.Get("metric_list")); err != nil {
		return err
	}
	return r.filters(root.Get("filter_list"))
}

// metric reads the first metric, by which an item is judged; the others are
// checked and left alone.
func (r *reader) metric(n *yml.Node) error {
	t := r.task
	if n == nil {
		return nil
	}
	if n.Kind != yml.List || len(n.Items) == 0 {
		return n.Problem("metric_list is a list of metrics")
	}
	fits := map[Output]map[Metric]bool{
		Choice:     {Acc: true, AccNorm: true, Margin: true},
		Likelihood: {Acc: true},
		Generate:   {Exact: true},
	}[t.Output]
	for i, m := range n.Items {
		name := m.Get("metric")
		if name == nil {
			return m.Problem("the field metric is missing")
		}
		s, err := name.Text()
		if err != nil {
			return err
		}
		if !fits[Metric(s)] {
			return name.Problem("the metric %q is not supported for %s", s, t.Output)
		}
		var cmp Compare
		for _, f := range m.Fields {
			switch f.Name {
			case "metric":
			case "aggregation":
				if a, err := f.Value.Text(); err != nil || a != "mean" {
					return f.Value.Problem("only the aggregation mean is supported")
				}
			case "higher_is_better":
				if up, err := f.Value.Bool(); err != nil || !up {
					return f.Value.Problem("higher is better for every metric here")
				}
			case "ignore_case":
				if cmp.IgnoreCase, err = f.Value.Bool(); err != nil {
					return err
				}
			case "ignore_punctuation":
				if cmp.IgnorePunctuation, err = f.Value.Bool(); err != nil {
					return err
				}
			case "ignore_numbers":
				if cmp.IgnoreNumbers, err = f.Value.Bool(); err != nil {
					return err
				}
			case "regexes_to_ignore":
				all, err := f.Value.Texts()
				if err != nil {
					return err
				}
				for _, s := range all {
					re, err := compile(s)
					if err != nil {
						return f.Value.Problem("%v", err)
					}
					cmp.Remove = append(cmp.Remove, re)
				}
			default:
				return &Problem{File: n.File, Line: f.Line, Message: fmt.Sprintf("the setting %q of a metric is not supported", f.Name)}
			}
		}
		if i == 0 {
			t.Metric, t.Compare = Metric(s), cmp
		}
	}
	return nil
}

func (r *reader) filters(n *yml.Node) error {
	t := r.task
	if n == nil {
		return nil
	}
	if t.Output != Generate {
		return n.Problem("filter_list has no meaning for %s", t.Output)
	}
	if n.Kind != yml.List || len(n.Items) != 1 {
		return n.Problem("exactly one filter pipeline is supported; make a task per pipeline")
	}
	for _, f := range n.Items[0].Fields {
		if f.Name != "name" && f.Name != "filter" {
			return &Problem{File: n.File, Line: f.Line, Message: fmt.Sprintf("unknown field %q of a filter pipeline", f.Name)}
		}
	}
	steps := n.Items[0].Get("filter")
	if steps == nil || steps.Kind != yml.List || len(steps.Items) > 16 {
		return n.Problem("a filter pipeline needs a list filter of at most 16 steps")
	}
	for _, s := range steps.Items {
		f := Filter{Fallback: "[invalid]"}
		name := s.Get("function")
		if name == nil {
			return s.Problem("the field function is missing")
		}
		var err error
		if f.Function, err = name.Text(); err != nil {
			return err
		}
		pattern := `#### (\-?[0-9\.\,]+)` // lm-eval's default
		for _, x := range s.Fields {
			switch {
			case x.Name == "function":
			case f.Function == "regex" && x.Name == "regex_pattern":
				pattern, err = x.Value.Text()
			case f.Function == "regex" && x.Name == "group_select":
				f.Select, err = x.Value.Int(-1000, 1000)
			case f.Function == "regex" && x.Name == "fallback":
				f.Fallback, err = x.Value.Text()
			default:
				return &Problem{File: n.File, Line: x.Line, Message: fmt.Sprintf("the setting %q of the filter %s is not supported", x.Name, f.Function)}
			}
			if err != nil {
				return err
			}
		}
		switch f.Function {
		case "regex":
			if f.Pattern, err = compile(pattern); err != nil {
				return s.Problem("%v", err)
			}
		case "take_first", "remove_whitespace", "lowercase", "uppercase":
		default:
			return name.Problem("the filter %q is not supported; there are regex, take_first, remove_whitespace, lowercase and uppercase", f.Function)
		}
		t.Filters = append(t.Filters, f)
	}
	return nil
}

func compile(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > 4096 {
		return nil, fmt.Errorf("the regular expression has %d bytes, more than 4096", len(pattern))
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("the regular expression %.60q: %w (Go's RE2 syntax: no look-around, no back-references)", pattern, err)
	}
	return re, nil
}

// Filtered is a generated text after the task's filters.
func (t *Task) Filtered(answer string) string {
	for _, f := range t.Filters {
		switch f.Function {
		case "regex":
			answer = f.find(answer)
		case "remove_whitespace": // as in lm-eval: in front
			answer = strings.TrimLeftFunc(answer, unicode.IsSpace)
		case "lowercase":
			answer = strings.ToLower(answer)
		case "uppercase":
			answer = strings.ToUpper(answer)
		}
	}
	return answer
}

// find is the selected match: its first group that is not empty, or all of it
// in a pattern without groups.
func (f Filter) find(s string) string {
	all := f.Pattern.FindAllStringSubmatch(s, -1)
	i := f.Select
	if i < 0 {
		i += len(all)
	}
	if i < 0 || i >= len(all) {
		return f.Fallback
	}
	m := all[i]
	if len(m) == 1 {
		return strings.TrimSpace(m[0])
	}
	for _, g := range m[1:] {
		if g != "" {
			return strings.TrimSpace(g)
		}
	}
	return ""
}

// Right reports whether a filtered answer is one of the item's.
func (t *Task) Right(it *Item, filtered string) bool {
	got := t.Compare.normal(filtered)
	for _, a := range it.Answers {
		if t.Compare.normal(a) == got {
			return true
		}
	}
	return false
}

func (c Compare) normal(s string) string {
	for _, re := range c.Remove {
		s = re.ReplaceAllString(s, "")
	}
	if c.IgnoreCase {
		s = strings.ToLower(s)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case c.IgnorePunctuation && r < unicode.MaxASCII && (unicode.IsPunct(r) || unicode.IsSymbol(r)), // Python's string.punctuation
			c.IgnoreNumbers && r >= '0' && r <= '9':
			return -1
		}
		return r
	}, s)
}
