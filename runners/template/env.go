package template

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/logging"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"

	"github.com/weighbridge/weighbridge/runners"
)

const (
	// MaxOutput is the most bytes that a conversation may be rendered to.
	MaxOutput = 1 << 20
	// maxRange is that of Jinja2's sandbox.
	maxRange = 100000
	// DefaultNow is the clock of a conversation that names none.
	DefaultNow = "2024-07-26T12:00:00Z"
)

// program is a parsed template. It renders one conversation after the other.
type program struct {
	t    *exec.Template
	vars map[string]string
	o    orders
}

// source gives the template, and no other file.
type source string

const root = "template"

func (s source) Read(path string) (io.Reader, error) {
	if path != root {
		return nil, errors.New("a chat template cannot read other files")
	}
	return strings.NewReader(string(s)), nil
}

func (s source) Resolve(path string) (string, error) {
	if path != root {
		return "", errors.New("a chat template cannot read other files")
	}
	return path, nil
}

func (s source) Inherit(string) (loaders.Loader, error) { return s, nil }

// parse makes a program. Its environment is that of transformers'
// apply_chat_template; what is random or reads files is not in it.
func parse(src string, vars map[string]string) (p *program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the parser panicked: %.200v", r)
		}
	}()
	logging.SetEnabled(false)
	p = &program{vars: vars, o: orders{}}
	filters := exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters)
	must(filters.Replace("tojson", p.tojson))
	must(filters.Replace("items", p.items))
	must(filters.Replace("random", func(*exec.Evaluator, *exec.Value, *exec.VarArgs) *exec.Value {
		return exec.AsValue(errors.New("random is not available to chat templates"))
	}))
	blocks := exec.NewControlStructureSet(map[string]parser.ControlStructureParser{}).Update(builtins.ControlStructures)
	must(blocks.Register("generation", generation))
	methods := builtins.Methods
	methods.Dict = exec.NewMethodSet(p.dictMethods())
	cfg := config.New()
	cfg.TrimBlocks, cfg.LeftStripBlocks = true, true
	t, err := exec.NewTemplate(root, cfg, source(src), &exec.Environment{
		Filters: filters, Tests: builtins.Tests, ControlStructures: blocks, Methods: methods,
		Context: exec.EmptyContext().Update(builtins.GlobalFunctions).Update(builtins.GlobalVariables),
	})
	if err != nil {
		// gonja puts the whole source into its message.
		return nil, errors.New(strings.ReplaceAll(err.Error(), src, "…"))
	}
	p.t = t
	return p, nil
}

func must(err error) {
	if err != nil {
		panic(err) // the names are gonja's own
	}
}

// errOutput ends a template whose text is too long.
var errOutput = fmt.Errorf("the template wrote more than %d bytes", MaxOutput)

type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > MaxOutput {
		return 0, errOutput
	}
	return l.Buffer.Write(b)
}

func (l *limited) WriteString(s string) (int, error) { return l.Write([]byte(s)) }

// render runs the template on one conversation.
func (p *program) render(c runners.Conversation) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = "", fmt.Errorf("the template panicked: %.200v", r)
		}
	}()
	clear(p.o)
	now := DefaultNow
	if c.Now != "" {
		now = c.Now
	}
	clock, err := time.Parse(time.RFC3339, now)
	if err != nil {
		return "", fmt.Errorf("now: %w", err)
	}
	messages := make([]any, len(c.Messages))
	for i, m := range c.Messages {
		keys, msg := []string{"role", "content"}, map[string]any{"role": m.Role, "content": m.Content}
		if len(m.ToolCalls) > 0 {
			if msg["tool_calls"], err = p.o.parse(m.ToolCalls); err != nil {
				return "", fmt.Errorf("message %d: tool_calls: %w", i, err)
			}
			keys = append(keys, "tool_calls")
		}
		messages[i] = p.o.object(keys, msg)
	}
	data := map[string]any{
		"messages": messages, "tools": nil, "documents": nil, "add_generation_prompt": c.AddGenerationPrompt,
		"range": span, "raise_exception": raise,
		"strftime_now": func(format string) string { return strftime(clock, format) },
		"lipsum":       nil,
	}
	for k, v := range p.vars {
		data[k] = v
	}
	if len(c.Tools) > 0 {
		if data["tools"], err = p.o.parse(c.Tools); err != nil {
			return "", fmt.Errorf("tools: %w", err)
		}
	}
	var out limited
	err = p.t.Execute(&out, exec.NewContext(data))
	var raised raised
	switch {
	case errors.As(err, &raised):
		return "", raised
	case errors.Is(err, errOutput):
		return "", errOutput
	case err != nil:
		return "", err
	}
	return strings.ToValidUTF8(out.String(), "�"), nil
}

// raised is what raise_exception was called with.
type raised string

func (r raised) Error() string { return "raised: " + string(r) }

func raise(_ *exec.Evaluator, params *exec.VarArgs) (any, error) {
	msg := ""
	if len(params.Args) > 0 {
		msg = params.Args[0].String()
	}
	return nil, raised(msg)
}

// span is Python's range, with the limit of Jinja2's sandbox.
func span(_ *exec.Evaluator, params *exec.VarArgs) (any, error) {
	var a []int
	for _, v := range params.Args {
		if !v.IsInteger() {
			return nil, fmt.Errorf("range: %q is not an integer", v.String())
		}
		a = append(a, v.Integer())
	}
	start, stop, step := 0, 0, 1
	switch len(a) {
	case 1:
		stop = a[0]
	case 2:
		start, stop = a[0], a[1]
	case 3:
		start, stop, step = a[0], a[1], a[2]
	default:
		return nil, fmt.Errorf("range of %d arguments", len(a))
	}
	if step == 0 {
		return nil, errors.New("range: step 0")
	}
	n := math.Ceil((float64(stop) - float64(start)) / float64(step))
	if n > maxRange {
		return nil, fmt.Errorf("range of %.0f; at most %d", n, maxRange)
	}
	out := make([]int, max(0, int(n)))
	for i := range out {
		out[i] = start + i*step
	}
	return out, nil
}

func (p *program) items(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	switch v := in.Interface().(type) {
	case map[string]any:
		return exec.AsValue(p.pairs(v))
	case *exec.Dict:
		out := make([]any, len(v.Pairs))
		for i, x := range v.Pairs {
			out[i] = []any{x.Key.Interface(), x.Value.Interface()}
		}
		return exec.AsValue(out)
	case error:
		return in
	}
	if in.IsNil() {
		return exec.AsValue([]any{})
	}
	return exec.AsValue(fmt.Errorf("items: %q is not a mapping", in.String()))
}

func (p *program) pairs(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, k := range p.o.keys(m) {
		out = append(out, []any{k, m[k]})
	}
	return out
}

func (p *program) dictMethods() map[string]exec.Method[map[string]any] {
	out := map[string]exec.Method[map[string]any]{
		"items": func(m map[string]any, _ *exec.Value, _ *exec.VarArgs) (any, error) { return p.pairs(m), nil },
		"keys":  func(m map[string]any, _ *exec.Value, _ *exec.VarArgs) (any, error) { return p.o.keys(m), nil },
		"values": func(m map[string]any, _ *exec.Value, _ *exec.VarArgs) (any, error) {
			var vs []any
			for _, k := range p.o.keys(m) {
				vs = append(vs, m[k])
			}
			return vs, nil
		},
	}
	for _, name := range []string{"get", "pop", "setdefault", "update", "copy", "clear"} {
		if f, ok := builtins.Methods.Dict.Get(name); ok {
			out[name] = f
		}
	}
	return out
}

// tojson is transformers': json.dumps with ensure_ascii off unless asked.
func (p *program) tojson(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	d := dumps{orders: p.o, item: ", ", kv: ": "}
	arg := func(name string, place int) *exec.Value {
		if v, ok := params.KwArgs[name]; ok {
			return v
		}
		if place < len(params.Args) {
			return params.Args[place]
		}
		return exec.AsValue(nil)
	}
	d.ascii = arg("ensure_ascii", 0).IsTrue()
	if v := arg("indent", 1); v.IsInteger() {
		if v.Integer() > maxDepth {
			return exec.AsValue(fmt.Errorf("tojson: indent %d", v.Integer()))
		}
		d.pretty, d.indent, d.item = true, strings.Repeat(" ", max(0, v.Integer())), ","
	} else if v.IsString() {
		d.pretty, d.indent, d.item = true, v.String(), ","
	}
	if v := arg("separators", 2); v.IsList() && v.Len() == 2 {
		d.item, d.kv = v.Index(0).String(), v.Index(1).String()
	}
	d.sorted = arg("sort_keys", 3).IsTrue()
	if err := d.write(in, 0); err != nil {
		return exec.AsValue(err)
	}
	return exec.AsSafeValue(d.b.String())
}

// generation is transformers' {% generation %}: it marks what the assistant
// says and changes no text.
func generation(p *parser.Parser, args *parser.Parser) (nodes.ControlStructure, error) {
	at := p.Current()
	w, end, err := p.WrapUntil("endgeneration")
	if err != nil {
		return nil, err
	}
	if !args.End() || !end.End() {
		return nil, args.Error("Arguments not allowed here.", nil)
	}
	return &passage{at, w}, nil
}

type passage struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func (g *passage) Position() *tokens.Token { return g.at }
func (g *passage) String() string          { return "generation" }
func (g *passage) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteWrapper(g.body)
}
