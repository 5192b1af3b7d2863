// Package suites reads suites: which probes are run, with which settings, data
// and share of the tokens.
//
// [Load] takes names of built-in suites (quick, standard, deep) and paths of
// YAML files and gives one [Suite]. A file is either a suite
//
//	suite: my-suite            # name
//	version: "1"
//	description: what it is for
//	level: quick               # quick, standard or deep; how hard probes try
//	budget: 30000              # tokens each model may be asked to decode; default that of the level
//	probes:
//	  - probe: benchmark       # ID of a probe
//	    id: sums               # unique; default the probe's ID
//	    required: true         # default false: not tested does not stop an approval
//	    budget: 0.5            # share of the tokens; default an equal part of what the others leave
//	    files: [sums.yaml]     # what the probe reads: task files and data, beside or below this file
//	    params: {margin: 0.05} # settings of the probe
//
// or a single task file in the subset of lm-eval's YAML that suites/task
// documents, which becomes a benchmark of that one task.
//
// Everything a suite refers to is read once, with bounds, when it is loaded:
// probes are given that copy, and the digest is over it. Paths never lead out
// of the suite's folder, not by symbolic links either. Every mistake is a
// [Problem] with file and line: unknown fields, probes and parameters, and ids
// given twice.
//
// The package knows no probe but by [probes.Lookup]; it asks no model and
// decides nothing.
package suites
