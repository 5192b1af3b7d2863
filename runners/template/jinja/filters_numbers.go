package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func filterAbs(_ *run, in any, _ []any, _ map[string]any) (any, error) {
	switch v := in.(type) {
	case int:
		return max(v, -v), nil
	case float64:
		return math.Abs(v), nil
	}
	return nil, fmt.Errorf("bad operand type for abs(): '%s'", typeName(in))
}

func filterFloat(_ *run, in any, a []any, n map[string]any) (any, error) {
	if f, ok := number(in); ok {
		return f, nil
	}
	if f, err := strconv.ParseFloat(strings.TrimSpace(str(in)), 64); err == nil {
		return f, nil
	}
	if d, ok := arg(a, n, 0, "default"); ok {
		return d, nil
	}
	return 0.0, nil
}

func filterInt(_ *run, in any, a []any, n map[string]any) (any, error) {
	if f, ok := number(in); ok && math.Abs(f) < 1<<62 {
		if i, ok := in.(int); ok {
			return i, nil
		}
		return int(f), nil
	}
	s := strings.TrimSpace(str(in))
	if i, err := strconv.Atoi(s); err == nil {
		return i, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
		return int(f), nil
	}
	if d, ok := arg(a, n, 0, "default"); ok {
		return d, nil
	}
	return 0, nil
}

func filterRound(_ *run, in any, a []any, n map[string]any) (any, error) {
	f, ok := number(in)
	if !ok {
		return nil, fmt.Errorf("type %s doesn't define __round__ method", typeName(in))
	}
	places, _ := arg(a, n, 0, "precision")
	p, _ := integer(places)
	scale := math.Pow(10, float64(p))
	switch method, _ := arg(a, n, 1, "method"); method {
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	if p < 0 || p > 300 {
		return math.RoundToEven(f*scale) / scale, nil
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', p, 64), 64)
	return v, err
}
