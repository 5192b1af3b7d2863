package task_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/suites/task"
)

const choiceYAML = `task: capitals
dataset_path: json
dataset_kwargs:
  data_files: {test: c.jsonl, train: none.jsonl}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{ question | trim }} ({{meta.tags[1]|upper}})\nA:"
doc_to_choice: "{{options}}"
doc_to_target: answer
metric_list:
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
  cluster: "{{meta.tags[0]}}"
`

const choiceData = `{"id": "x1", "question": " Where? ", "options": ["Rome", "Paris"], "answer": 1, "meta": {"tags": ["geo", "fr"]}}

{"question": "Who?", "options": ["Ann", "Ben"], "answer": "Ann", "meta": {"tags": ["people", "gb"]}}
`

func TestMultipleChoice(t *testing.T) {
	got, err := task.Parse(files("t.yaml", choiceYAML, "c.jsonl", choiceData), "t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "capitals" || got.Metric != task.AccNorm || got.ForceDelimiter || got.Delimiter != " " {
		t.Errorf("head: %+v", got)
	}
	want := []task.Item{
		{ID: "x1", Cluster: "geo", Prompt: "Q: Where? (FR)\nA:", Choices: []string{"Rome", "Paris"}, Target: 1, Line: 1},
		{ID: got.Items[1].ID, Cluster: "people", Prompt: "Q: Who? (GB)\nA:", Choices: []string{"Ann", "Ben"}, Target: 0, Line: 3},
	}
	if d := cmp.Diff(want, got.Items); d != "" {
		t.Error(d)
	}
	if len(got.Items[1].ID) != 16 {
		t.Errorf("a record without an id is called %q, want a digest", got.Items[1].ID)
	}
}

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

const generateYAML = `task: sums
dataset_path: csv
dataset_kwargs:
  data_files: data/sums.csv
output_type: generate_until
doc_to_text: "What is {{a}} + {{b}}?"
doc_to_target: "{{sum}}"
generation_kwargs:
  until: ["\n"]
  max_gen_toks: 8
metric_list:
  - metric: exact_match
    ignore_case: true
    ignore_punctuation: true
filter_list:
  - name: number
    filter:
      - function: regex
        regex_pattern: "(-?[0-9]+)|([a-z]+)"
        group_select: -1
      - function: take_first
`

func TestGenerate(t *testing.T) {
	got, err := task.Parse(files("dir/t.yaml", generateYAML, "dir/data/sums.csv", "a,b,sum\n1,2,3\n\"4\",5,9\n"), "dir/t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got.MaxTokens != 8 || cmp.Diff([]string{"\n"}, got.Until) != "" || len(got.Items) != 2 || got.Items[1].Line != 3 {
		t.Errorf("%+v", got)
	}
	it := &got.Items[0]
	for answer, right := range map[string]bool{"1 + 2 = 3": true, "3.": true, "it is three": false, "": false, "4": false} {
		if f := got.Filtered(answer); got.Right(it, f) != right {
			t.Errorf("%q, filtered %q: right is %v", answer, f, !right)
		}
	}
}

func TestExactMatchOverlooks(t *testing.T) {
	y := strings.Replace(generateYAML, "    ignore_punctuation: true\n", "    ignore_punctuation: true\n    regexes_to_ignore: [\"the \"]\n", 1)
	y = y[:strings.Index(y, "filter_list")] + "filter_list:\n  - name: a\n    filter: [{function: remove_whitespace}]\n"
	got, err := task.Parse(files("t.yaml", y, "data/sums.csv", "a,b,sum\n1,2,The Cat!\n"), "t.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if f := got.Filtered(" \n cat"); f != "cat" {
		t.Errorf("filtered %q", f)
	}
	for answer, right := range map[string]bool{"The cat": true, "the Cat.": false, "cat": false} {
		if got.Right(&got.Items[0], answer) != right {
			t.Errorf("%q: right is %v", answer, !right)
		}
	}
}

// Every refusal names the file and the line of what is wrong.
func TestRefused(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(choiceYAML, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(choiceYAML, old, new, 1)
	}
	for name, c := range map[string]struct{ yaml, data, want string }{
		"python target":    {swap("doc_to_target: answer", "doc_to_target: !function u.f"), choiceData, "t.yaml:9: !function is Python"},
		"process_docs":     {choiceYAML + "process_docs: x\n", choiceData, "t.yaml:17: process_docs is not supported: it is Python"},
		"unknown field":    {choiceYAML + "colour: red\n", choiceData, `t.yaml:17: unknown field "colour"`},
		"few-shot":         {choiceYAML + "num_fewshot: 5\n", choiceData, "t.yaml:17: num_fewshot above 0"},
		"download":         {swap("dataset_path: json", "dataset_path: allenai/ai2_arc"), choiceData, "t.yaml:2: dataset_path"},
		"statement":        {swap("{{ question | trim }}", "{% if x %}"), choiceData, "t.yaml:7: statements"},
		"call":             {swap("{{ question | trim }}", "{{ question.strip() }}"), choiceData, "t.yaml:7: the expression"},
		"filter":           {swap("| trim", "| replace"), choiceData, "t.yaml:7: the filter"},
		"open expression":  {swap("{{ question | trim }}", "{{ question"), choiceData, "t.yaml:7: "},
		"output":           {swap("multiple_choice", "loglikelihood_rolling"), choiceData, "t.yaml:6: output_type"},
		"metric":           {swap("metric: acc_norm", "metric: bleu"), choiceData, "t.yaml:11: the metric"},
		"aggregation":      {swap("aggregation: mean", "aggregation: median"), choiceData, "t.yaml:12: only the aggregation"},
		"missing data":     {swap("c.jsonl,", "d.jsonl,"), choiceData, "t.yaml:4: open d.jsonl"},
		"data outside":     {swap("c.jsonl,", "../c.jsonl,"), choiceData, "t.yaml:4: the data file"},
		"absolute data":    {swap("c.jsonl,", "/c.jsonl,"), choiceData, "t.yaml:4: the data file"},
		"split":            {swap("test_split: test", "test_split: dev"), choiceData, "t.yaml:5: data_files has no split"},
		"bad JSON":         {choiceYAML, choiceData + "{]\n", "c.jsonl:4: not a JSON object"},
		"two values":       {choiceYAML, choiceData + "{} {}\n", "c.jsonl:4: more than one JSON value"},
		"null record":      {choiceYAML, choiceData + "null\n", "c.jsonl:4: not a JSON object"},
		"no such field":    {choiceYAML, choiceData + `{"question": "a", "meta": {"tags": ["a", "b"]}, "options": ["a", "b"]}` + "\n", `c.jsonl:4: there is no field "answer"`},
		"index":            {choiceYAML, choiceData + `{"question": "a", "meta": {"tags": ["a"]}}` + "\n", "c.jsonl:4: {{meta.tags[1]"},
		"target not there": {choiceYAML, choiceData + `{"question": "a", "meta": {"tags": ["a", "b"]}, "options": ["a", "b"], "answer": "c"}` + "\n", "c.jsonl:4: the target"},
		"ambiguous target": {choiceYAML, choiceData + `{"question": "a", "meta": {"tags": ["a", "b"]}, "options": ["1", "0"], "answer": "1"}` + "\n", "c.jsonl:4: the target"},
		"same id":          {choiceYAML, choiceData + strings.SplitAfter(choiceData, "\n")[0], `c.jsonl:4: the id "x1" is also that of line 1`},
		"one choice":       {choiceYAML, choiceData + `{"question": "a", "meta": {"tags": ["a", "b"]}, "options": ["a"], "answer": 0}` + "\n", "c.jsonl:4: 1 choices"},
		"not text":         {choiceYAML, "\xff\xfe", "not UTF-8"},
		"no records":       {choiceYAML, "\n", "t.yaml:4: the data has no record"},
		"name":             {swap("task: capitals", "task: ../x"), choiceData, "t.yaml:1: the task name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := task.Parse(files("t.yaml", c.yaml, "c.jsonl", c.data), "t.yaml")
			var p *task.Problem
			if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a problem with %q", err, c.want)
			}
		})
	}
	_, err := task.Parse(files("t.yaml", choiceYAML+"colour: 1\ninclude: x\n"), "t.yaml")
	if err == nil || !strings.Contains(err.Error(), "colour") || !strings.Contains(err.Error(), "include") {
		t.Errorf("of two mistakes not both are told: %v", err)
	}
}

func TestJSONArrayKeepsLines(t *testing.T) {
	data := "[\n {\"question\": \"a\", \"options\": [\"a\", \"b\"], \"answer\": 0, \"meta\": {\"tags\": [\"p\", \"q\"]}},\n\n {\"question\": \"b\"}\n]\n"
	_, err := task.Parse(files("t.yaml", choiceYAML, "c.jsonl", data), "t.yaml")
	if err == nil || !strings.HasPrefix(err.Error(), "c.jsonl:4:") {
		t.Errorf("got %v", err)
	}
}

func FuzzTask(f *testing.F) {
	f.Add(choiceYAML, choiceData)
	f.Add(strings.Replace(generateYAML, "data/sums.csv", "c.jsonl", 1), "a,b,sum\n1,2,3\n")
	f.Add(strings.Replace(choiceYAML, `"{{options}}"`, `["{{question}}", "b{c}"]`, 1), "["+strings.TrimSpace(strings.Replace(choiceData, "\n\n", ",", 1))+"]")
	f.Fuzz(func(t *testing.T, yaml, data string) {
		got, err := task.Parse(files("t.yaml", yaml, "c.jsonl", data), "t.yaml")
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, it := range got.Items {
			if it.ID == "" || seen[it.ID] {
				t.Fatalf("the id %q is empty or twice", it.ID)
			}
			seen[it.ID] = true
			if got.Output == task.Choice && (it.Target < 0 || it.Target >= len(it.Choices)) {
				t.Fatalf("target %d of %d choices", it.Target, len(it.Choices))
			}
			if got.Output == task.Generate {
				got.Right(&it, got.Filtered(it.Prompt))
			}
		}
	})
}
