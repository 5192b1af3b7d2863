// Package template puts conversations through a model's own chat template.
//
// A chat template is a Jinja program of whoever made the weights. It runs in a
// process of its own, which this program starts from its own file, which reads
// conversations from a pipe and writes texts to another, and which is killed at
// its deadline: nothing less stops a template that does not end, recurses
// without end or fills the memory. The process opens no file and no socket; the
// environment is that of transformers: trim_blocks, lstrip_blocks, loop
// controls, raise_exception, strftime_now, tojson.
//
// In go a template's source, variables and conversations; out come texts, or
// for each conversation the reason why there is none. A template sees no clock
// but Conversation.Now, no file, and no randomness.
//
// main, and TestMain where a Renderer is used, must call [RunChild] first.
package template
