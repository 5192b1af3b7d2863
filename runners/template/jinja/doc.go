// Package jinja runs chat templates: the part of Jinja2 that they use, in the
// environment of transformers' apply_chat_template (immutable sandbox,
// trim_blocks, lstrip_blocks, loop controls, {% generation %}, tojson).
//
// In go a source, variables and [Limits]; out comes a text or the error that
// ended it. Steps, recursion, memory and output are counted, so that a template
// that does not end ends after the same step on every machine.
//
// The package will not read files (include, import and extends do not exist),
// tell the time, or draw random numbers (the filter random does not exist). It
// differs from Jinja2 where Python shows through: integers have 64 bits.
package jinja
