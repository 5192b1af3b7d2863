package task

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/weighbridge/weighbridge/suites/internal/yml"
)

// source is a doc_to_… field: the name of a field of the data, a template, or
// a fixed number.
type source struct {
	node     *yml.Node
	field    string
	template *template
	fixed    *int
}

// source reads a doc_to_… field. As in lm-eval, text that is the name of a
// field means that field's value.
func (r *reader) source(n *yml.Node, first map[string]any) (*source, error) {
	if i, ok := n.Scalar.(int64); ok && i >= 0 && i < maxChoices {
		fixed := int(i)
		return &source{node: n, fixed: &fixed}, nil
	}
	s, err := n.Text()
	if err != nil {
		return nil, err
	}
	if _, ok := first[s]; ok {
		return &source{node: n, field: s}, nil
	}
	t, err := parseTemplate(s)
	if err != nil {
		return nil, n.Problem("%v", err)
	}
	return &source{node: n, template: t}, nil
}

// value is the raw value for a record: that of a field or of a lone
// expression, else the template's text.
func (s *source) value(rec record) (any, error) {
	if s.fixed != nil {
		return json.Number(strconv.Itoa(*s.fixed)), nil
	}
	if s.field != "" {
		v, ok := rec.fields[s.field]
		if !ok {
			return nil, rec.problem("there is no field %q, which %s:%d asks for", s.field, s.node.File, s.node.Line)
		}
		return v, nil
	}
	v, ok, err := s.template.single(rec.fields)
	if !ok && err == nil {
		v, err = s.template.text(rec.fields)
	}
	if err != nil {
		return nil, rec.problem("%v (for %s:%d)", err, s.node.File, s.node.Line)
	}
	return v, nil
}

func (s *source) text(rec record) (string, error) {
	v, err := s.value(rec)
	if err != nil {
		return "", err
	}
	t, err := printed(v)
	if err == nil && len(t) > maxText {
		err = fmt.Errorf("the text has more than %d bytes", maxText)
	}
	if err != nil {
		return "", rec.problem("%v (for %s:%d)", err, s.node.File, s.node.Line)
	}
	return t, nil
}

// questions reads the data and writes every item out.
func (r *reader) questions(root *yml.Node) error {
	rows, err := r.records(root)
	if err != nil {
		return err
	}
	first := rows[0].fields
	sources := map[string]*source{}
	for _, f := range root.Fields {
		switch f.Name {
		case "doc_to_text", "doc_to_target":
			if sources[f.Name], err = r.source(f.Value, first); err != nil {
				return err
			}
		}
	}
	text, target := sources["doc_to_text"], sources["doc_to_target"]
	if text == nil || target == nil {
		return root.Problem("doc_to_text and doc_to_target are needed")
	}
	choices, err := r.choices(root.Get("doc_to_choice"), first)
	if err != nil {
		return err
	}
	if r.task.Output == Choice && choices == nil {
		return root.Problem("multiple_choice needs doc_to_choice")
	}
	var cluster *source
	if n := root.Get("metadata").Get("cluster"); n != nil {
		if cluster, err = r.source(n, first); err != nil {
			return err
		}
	}
	ids := make(map[string]int, len(rows))
	for _, rec := range rows {
		it := Item{Line: rec.line}
		if it.ID, err = identify(rec, ids); err != nil {
			return err
		}
		if it.Prompt, err = text.text(rec); err != nil {
			return err
		}
		if cluster != nil {
			if it.Cluster, err = cluster.text(rec); err != nil {
				return err
			}
		}
		if r.task.Output == Choice {
			err = it.choose(rec, choices, target)
		} else {
			err = it.answer(rec, target, r.task.Output)
		}
		if err != nil {
			return err
		}
		r.task.Items = append(r.task.Items, it)
	}
	return nil
}

// choices gives a function from records to choices, or nil without the field.
func (r *reader) choices(n *yml.Node, first map[string]any) (func(record) ([]string, error), error) {
	if n == nil {
		return nil, nil
	}
	if n.Kind != yml.List {
		s, err := r.source(n, first)
		if err != nil {
			return nil, err
		}
		return func(rec record) ([]string, error) {
			v, err := s.value(rec)
			if err != nil {
				return nil, err
			}
			return texts(v, rec, "doc_to_choice")
		}, nil
	}
	var all []*source
	for _, i := range n.Items {
		s, err := r.source(i, nil) // an element is text, not the name of a field
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return func(rec record) ([]string, error) {
		out := make([]string, len(all))
		for i, s := range all {
			var err error
			if out[i], err = s.text(rec); err != nil {
				return nil, err
			}
		}
		return out, nil
	}, nil
}

// texts is a list of values as texts.
func texts(v any, rec record, what string) ([]string, error) {
	l, ok := v.([]any)
	if !ok {
		return nil, rec.problem("%s gives no list of texts", what)
	}
	out := make([]string, len(l))
	for i, x := range l {
		s, err := printed(x)
		if err == nil && len(s) > maxText {
			err = fmt.Errorf("more than %d bytes", maxText)
		}
		if err != nil {
			return nil, rec.problem("%s, element %d: %v", what, i, err)
		}
		out[i] = s
	}
	return out, nil
}

func (it *Item) choose(rec record, choices func(record) ([]string, error), target *source) (err error) {
	if it.Choices, err = choices(rec); err != nil {
		return err
	}
	if len(it.Choices) < 2 || len(it.Choices) > maxChoices {
		return rec.problem("%d choices; from 2 to %d are possible", len(it.Choices), maxChoices)
	}
	for i, c := range it.Choices {
		if c == "" {
			return rec.problem("choice %d is empty", i)
		}
	}
	v, err := target.value(rec)
	if err != nil {
		return err
	}
	t, err := printed(v)
	if err != nil {
		return rec.problem("doc_to_target: %v", err)
	}
	byText, byIndex := -1, -1
	if n, err := strconv.Atoi(t); err == nil && n >= 0 && n < len(it.Choices) {
		byIndex = n
	}
	// A number is an index. Text is a choice; lm-eval takes digits in it for an
	// index, so where they also spell another choice the file has to decide.
	if _, number := v.(json.Number); !number {
		for i, c := range it.Choices {
			if c == t {
				if byText >= 0 {
					return rec.problem("the choices %d and %d are equal", byText, i)
				}
				byText = i
			}
		}
	}
	switch {
	case byText < 0 && byIndex < 0:
		return rec.problem("the target %.40q is neither a choice nor an index from 0 to %d", t, len(it.Choices)-1)
	case byText >= 0 && byIndex >= 0 && byText != byIndex:
		return rec.problem("the target %q is both the choice %d and the index %d; give the index as a number", t, byText, byIndex)
	}
	it.Target = max(byText, byIndex)
	return nil
}

func (it *Item) answer(rec record, target *source, out Output) error {
	v, err := target.value(rec)
	if err != nil {
		return err
	}
	if l, ok := v.([]any); ok && out == Generate {
		if it.Answers, err = texts(l, rec, "doc_to_target"); err != nil {
			return err
		}
	} else {
		s, err := target.text(rec)
		if err != nil {
			return err
		}
		it.Answers = []string{s}
	}
	if len(it.Answers) == 0 || out == Likelihood && it.Answers[0] == "" {
		return rec.problem("the target is empty")
	}
	return nil
}

// identify is the record's own id, or the head of a digest of its fields. Two
// records with the same fields are told apart by a count; two with the same
// id of their own are a mistake.
func identify(rec record, seen map[string]int) (string, error) {
	if v, ok := rec.fields["id"]; ok {
		id, err := printed(v)
		if err != nil || id == "" || len(id) > 128 {
			return "", rec.problem("the id must be a text of at most 128 bytes or a number")
		}
		if first, dup := seen[id]; dup {
			return "", rec.problem("the id %q is also that of line %d", id, first)
		}
		seen[id] = rec.line
		return id, nil
	}
	b, err := json.Marshal(rec.fields) // keys sorted: canonical
	if err != nil {
		return "", rec.problem("%v", err)
	}
	h := sha256.Sum256(b)
	id := hex.EncodeToString(h[:8])
	for n := 2; ; n++ {
		if _, dup := seen[id]; !dup {
			seen[id] = rec.line
			return id, nil
		}
		id = fmt.Sprintf("%s-%d", hex.EncodeToString(h[:8]), n)
	}
}
