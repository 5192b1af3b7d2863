// Package template puts conversations through a model's own chat template.
//
// A chat template is a Jinja program of whoever made the weights. Package jinja
// runs it with counted steps, memory and output, so that one which does not end
// ends the same way on every machine. Because such counting can have holes, it
// runs in a process of its own, which this program starts from its own file,
// with limits on memory and time; it reads conversations from a pipe, writes
// texts to another, and is killed at its deadline.
//
// In go a template's source, variables and conversations; out come texts, or
// for each conversation the reason why there is none. A template sees no clock
// but Conversation.Now, no file, and no randomness.
//
// main, and TestMain where a Renderer is used, must call [RunChild] first.
package template
