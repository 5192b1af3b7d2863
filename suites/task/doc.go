// Package task reads task files: questions with known answers, in a subset of
// the YAML of lm-evaluation-harness, and their data.
//
// [Parse] takes a file system and the name of a task file and gives a [Task]
// whose prompts are written out, ready to be asked. The same call serves the
// loader of suites, which wants to know about mistakes and needed files, and
// the benchmark probe, which asks.
//
// Supported: dataset_path json or csv with dataset_kwargs.data_files beside
// the task file; output_type multiple_choice, loglikelihood, generate_until;
// doc_to_text, doc_to_target and doc_to_choice as a field's name or a template
// of text and {{field}}, {{field.sub}}, {{field[0]}} with the filters trim,
// lower and upper; description; target_delimiter; generation_kwargs until and
// max_gen_toks; the metrics acc, acc_norm and exact_match; one filter pipeline
// of regex, take_first, remove_whitespace, lowercase and uppercase. Beyond
// lm-eval there is the metric margin, and metadata.cluster, a template whose
// value groups items that are not independent.
//
// Everything else that would change what is asked is refused with its line:
// Python (!function, process_docs), include, few-shot examples, statements
// and calls in templates, downloads. Nothing is ever run or fetched.
package task
