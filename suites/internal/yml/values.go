package yml

import (
	"encoding/json"
	"fmt"
	"math"
)

// Get is the value of a field, or nil.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for _, f := range n.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Text is a string; a number or truth value that YAML made of unquoted text is
// refused, because quoting it is the author's decision.
func (n *Node) Text() (string, error) {
	if s, ok := n.Scalar.(string); ok && n.Kind == One {
		return s, nil
	}
	return "", n.Problem("text is expected here, not %s; put it in quotes", n.what())
}

// Texts is a list of strings, or one string as a list of one.
func (n *Node) Texts() ([]string, error) {
	if n.Kind == One {
		s, err := n.Text()
		return []string{s}, err
	}
	if n.Kind != List {
		return nil, n.Problem("text or a list of texts is expected here, not %s", n.what())
	}
	var all []string
	for _, i := range n.Items {
		s, err := i.Text()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Int is a whole number from low to high.
func (n *Node) Int(low, high int) (int, error) {
	v, ok := n.Scalar.(int64)
	if !ok || n.Kind != One || v < int64(low) || v > int64(high) {
		return 0, n.Problem("a whole number from %d to %d is expected here, not %s", low, high, n.what())
	}
	return int(v), nil
}

// Number is a number from low to high.
func (n *Node) Number(low, high float64) (float64, error) {
	v, ok := n.Scalar.(float64)
	if i, isInt := n.Scalar.(int64); isInt {
		v, ok = float64(i), true
	}
	if !ok || n.Kind != One || !(v >= low && v <= high) {
		return 0, n.Problem("a number from %g to %g is expected here, not %s", low, high, n.what())
	}
	return v, nil
}

// Bool is true or false.
func (n *Node) Bool() (bool, error) {
	v, ok := n.Scalar.(bool)
	if !ok || n.Kind != One {
		return false, n.Problem("true or false is expected here, not %s", n.what())
	}
	return v, nil
}

// JSON is the value as canonical JSON: the names of fields sorted, no spaces.
func (n *Node) JSON() (json.RawMessage, error) {
	v, err := n.any()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, n.Problem("%v", err)
	}
	return b, nil
}

func (n *Node) any() (any, error) {
	switch n.Kind {
	case Map:
		m := make(map[string]any, len(n.Fields))
		for _, f := range n.Fields {
			v, err := f.Value.any()
			if err != nil {
				return nil, err
			}
			m[f.Name] = v
		}
		return m, nil
	case List:
		l := make([]any, len(n.Items))
		for i, x := range n.Items {
			v, err := x.any()
			if err != nil {
				return nil, err
			}
			l[i] = v
		}
		return l, nil
	}
	if f, ok := n.Scalar.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, n.Problem("%v is not a number that can be used here", f)
	}
	return n.Scalar, nil
}

func (n *Node) what() string {
	if n.Kind != One {
		return string(n.Kind)
	}
	if n.Scalar == nil {
		return "nothing"
	}
	s := fmt.Sprintf("%v", n.Scalar)
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Sprintf("%q", s)
}
