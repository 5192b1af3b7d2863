package task

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/weighbridge/weighbridge/suites/internal/yml"
)

// Problem is a mistake in a file, with the file's name and line.
type Problem = yml.Problem

// Limits of a task.
const (
	MaxItems   = 100_000
	MaxData    = 64 << 20 // bytes of one data file
	maxRecord  = 1 << 20  // bytes of one line of JSON
	maxText    = 64 << 10 // bytes of one prompt or answer
	maxChoices = 64
	maxTokens  = 4096
)

// Output is how a task is answered.
type Output string

// The outputs.
const (
	Choice     Output = "multiple_choice" // the most likely of the given answers
	Likelihood Output = "loglikelihood"   // whether the target is the most likely text
	Generate   Output = "generate_until"  // free text, compared with the target
)

// Metric says what counts as the score of an answer. Higher is better.
type Metric string

// The metrics.
const (
	Acc     Metric = "acc"         // 0 or 1: the right choice has the largest log-likelihood; for Likelihood, every token of the target is the most likely one
	AccNorm Metric = "acc_norm"    // as Acc, with log-likelihood per byte
	Exact   Metric = "exact_match" // 0 or 1: the filtered answer is one of the targets
	Margin  Metric = "margin"      // nats: log-likelihood of the right choice minus the best wrong one
)

// Task is a task file with its questions.
type Task struct {
	Name    string
	File    string
	Output  Output
	Metric  Metric
	System  string // description, given as the system message; may be empty
	Compare Compare
	Filters []Filter
	// Delimiter stands between prompt and answer where no chat template does.
	Delimiter string
	// ForceDelimiter says that the file names the delimiter, which then also
	// stands after a chat template.
	ForceDelimiter bool
	Until          []string
	MaxTokens      int
	Items          []Item
}

// Item is one question.
type Item struct {
	ID      string // unique in the task: the record's id, or a digest of the record
	Cluster string // items that are not independent share one; may be empty
	Prompt  string
	Choices []string // for Choice
	Target  int      // index of the right choice
	Answers []string // for Likelihood one, for Generate one or more
	Line    int      // of the record in its data file
}

// Compare says what exact_match overlooks.
type Compare struct {
	IgnoreCase, IgnorePunctuation, IgnoreNumbers bool
	Remove                                       []*regexp.Regexp
}

// Parse reads a task file and its data. A mistake is a *Problem; a file that
// cannot be read is an error with its name.
func Parse(fsys fs.FS, name string) (*Task, error) {
	b, err := readFile(fsys, name, yml.MaxBytes)
	if err != nil {
		return nil, err
	}
	root, err := yml.Parse(name, b)
	if err != nil {
		return nil, err
	}
	if root.Kind != yml.Map {
		return nil, root.Problem("a task is a mapping of fields")
	}
	r := reader{fsys: fsys, task: &Task{File: name, Delimiter: " ", MaxTokens: 32}}
	for _, step := range []func(*yml.Node) error{r.known, r.head, r.scoring, r.generation, r.questions} {
		if err := step(root); err != nil {
			return nil, err
		}
	}
	return r.task, nil
}

// IsTask reports whether a parsed file looks like a task rather than a suite.
func IsTask(root *yml.Node) bool { return root.Get("task") != nil || root.Get("dataset_path") != nil }

type reader struct {
	fsys fs.FS
	task *Task
}

// taken are the fields with a meaning here; harmless ones change nothing of
// what is asked; refused ones would, and carry the reason.
var (
	taken = set("task", "dataset_path", "dataset_kwargs", "output_type", "doc_to_text", "doc_to_target", "doc_to_choice",
		"description", "target_delimiter", "generation_kwargs", "metric_list", "filter_list", "metadata",
		"test_split", "validation_split", "num_fewshot", "repeats", "should_decontaminate")
	harmless = set("task_alias", "tag", "group", "group_alias", "training_split", "fewshot_split", "fewshot_delimiter", "batch_size")
	refused  = map[string]string{
		"process_docs":                 "it is Python, which is not run here; write the processed records into the data",
		"process_results":              "it is Python, which is not run here; use metric_list and filter_list",
		"custom_dataset":               "it is Python, which is not run here; write the records to a JSON file",
		"include":                      "a task file stands alone; copy the fields into it",
		"use_prompt":                   "prompts of other libraries are not downloaded; write doc_to_text",
		"dataset_name":                 "nothing is downloaded; use dataset_path json or csv and dataset_kwargs.data_files",
		"gen_prefix":                   "beginning the answer for the model is not supported",
		"fewshot_config":               "few-shot examples are not supported; write them into doc_to_text",
		"doc_to_decontamination_query": "decontamination is not supported",
		"aggregate_metric_list":        "groups of tasks are not supported; list the task files in a suite",
		"unsafe_code":                  "code of a task is not run here",
		"doc_to_image":                 "only text is supported",
		"doc_to_audio":                 "only text is supported",
	}
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

func (r *reader) known(root *yml.Node) error {
	var all []error
	for _, f := range root.Fields {
		if why, no := refused[f.Name]; no {
			all = append(all, &Problem{File: root.File, Line: f.Line, Message: fmt.Sprintf("%s is not supported: %s", f.Name, why)})
		} else if !taken[f.Name] && !harmless[f.Name] {
			all = append(all, &Problem{File: root.File, Line: f.Line, Message: fmt.Sprintf("unknown field %q", f.Name)})
		}
	}
	return errors.Join(all...)
}

func (r *reader) head(root *yml.Node) (err error) {
	t := r.task
	name := root.Get("task")
	if name == nil {
		return root.Problem("the field task, the task's name, is missing")
	}
	if t.Name, err = name.Text(); err != nil {
		return err
	}
	if !Name.MatchString(t.Name) {
		return name.Problem("the task name %q must be letters, digits, '.', '_' and '-', at most 64 of them", t.Name)
	}
	kind := root.Get("output_type")
	if kind == nil {
		return root.Problem("the field output_type is missing; it is multiple_choice, loglikelihood or generate_until")
	}
	s, err := kind.Text()
	if err != nil {
		return err
	}
	switch t.Output = Output(s); t.Output {
	case Choice, Likelihood, Generate:
	default:
		return kind.Problem("output_type %q is not supported; it is multiple_choice, loglikelihood or generate_until", s)
	}
	if n := root.Get("description"); n != nil {
		if t.System, err = n.Text(); err != nil {
			return err
		}
	}
	if n := root.Get("target_delimiter"); n != nil {
		if t.Delimiter, err = n.Text(); err != nil {
			return err
		}
		t.ForceDelimiter = true
	}
	for name, most := range map[string]int{"num_fewshot": 0, "repeats": 1} {
		if n := root.Get(name); n != nil && n.Scalar != nil {
			if _, err := n.Int(0, most); err != nil {
				return n.Problem("%s above %d is not supported", name, most)
			}
		}
	}
	if n := root.Get("should_decontaminate"); n != nil {
		if on, err := n.Bool(); err != nil || on {
			return n.Problem("decontamination is not supported")
		}
	}
	return nil
}

// Name is what tasks, suites and entries may be called.
var Name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (r *reader) generation(root *yml.Node) (err error) {
	t := r.task
	g := root.Get("generation_kwargs")
	if g == nil {
		if t.Output == Generate {
			t.Until = []string{"\n\n"} // lm-eval's: the few-shot delimiter
		}
		return nil
	}
	if t.Output != Generate {
		return g.Problem("generation_kwargs has no meaning for %s", t.Output)
	}
	for _, f := range g.Fields {
		switch f.Name {
		case "until":
			if t.Until, err = f.Value.Texts(); err != nil {
				return err
			}
			for _, u := range t.Until {
				if u == "" || len(u) > 256 {
					return f.Value.Problem("a stop text has from 1 to 256 bytes")
				}
			}
			if len(t.Until) > 16 {
				return f.Value.Problem("more than 16 stop texts")
			}
		case "max_gen_toks":
			if t.MaxTokens, err = f.Value.Int(1, maxTokens); err != nil {
				return err
			}
		case "do_sample":
			if on, err := f.Value.Bool(); err != nil || on {
				return f.Value.Problem("answers are generated greedily, so that both sides and every run agree; do_sample must be false")
			}
		case "temperature":
			if _, err := f.Value.Number(0, 0); err != nil {
				return f.Value.Problem("answers are generated greedily; temperature must be 0")
			}
		default:
			return &Problem{File: root.File, Line: f.Line, Message: fmt.Sprintf("generation_kwargs.%s is not supported; there are until, max_gen_toks, do_sample: false and temperature: 0", f.Name)}
		}
	}
	return nil
}
