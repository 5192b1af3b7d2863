package template

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/weighbridge/weighbridge/runners"
)

const (
	// Deadline is how long a template may take to parse, or for one conversation.
	// Real ones take a millisecond; the room is for slow machines.
	Deadline = 10 * time.Second
	// maxKills is how many conversations of a request may cost a process each.
	maxKills = 4
	maxError = 2000 // bytes of a reason
	maxLine  = 6*MaxOutput + maxError
)

// Renderer starts renderer processes. It is safe for concurrent use.
type Renderer struct{ deadline time.Duration }

// NewRenderer gives a Renderer.
func NewRenderer() *Renderer { return &Renderer{Deadline} }

// Render puts conversations through the template, with variables such as
// bos_token; only Text and Error of the results are set. Errors: a
// *runners.Error (CodeTemplate) when the template does not parse, ctx.Err(), or
// that no process could be started.
func (r *Renderer) Render(ctx context.Context, source string, vars map[string]string, cs []runners.Conversation) ([]runners.Rendered, error) {
	for i, c := range cs {
		for _, raw := range append([]json.RawMessage{c.Tools}, calls(c)...) {
			if len(raw) > 0 && !json.Valid(raw) {
				return nil, runners.Refused(runners.CodeInvalid, i, "tools or tool_calls are not JSON")
			}
		}
	}
	out := make([]runners.Rendered, 0, len(cs))
	for kills := 0; len(out) < len(cs); kills++ {
		if kills == maxKills {
			for len(out) < len(cs) {
				out = append(out, runners.Rendered{Error: fmt.Sprintf("not rendered: the template had to be killed %d times", kills)})
			}
			break
		}
		done, err := r.some(ctx, job{source, vars}, cs[len(out):])
		out = append(out, done...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func calls(c runners.Conversation) []json.RawMessage {
	var out []json.RawMessage
	for _, m := range c.Messages {
		out = append(out, m.ToolCalls)
	}
	return out
}

// some renders with one process until all is done or the process must be given
// up; then the last result says why.
func (r *Renderer) some(ctx context.Context, j job, cs []runners.Conversation) ([]runners.Rendered, error) {
	p, err := start(ctx, j, cs)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	head, why := p.next(ctx, r.deadline)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case why != "":
		return nil, runners.Refused(runners.CodeTemplate, -1, "while it was parsed, %s", why)
	case head.Error != "":
		return nil, runners.Refused(runners.CodeTemplate, -1, "%s", clip(head.Error))
	}
	var out []runners.Rendered
	for range cs {
		res, why := p.next(ctx, r.deadline)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if why != "" {
			return append(out, runners.Rendered{Error: why}), nil
		}
		if res.Error != "" {
			out = append(out, runners.Rendered{Error: clip(res.Error)})
		} else {
			out = append(out, runners.Rendered{Text: res.Text})
		}
	}
	return out, nil
}

func clip(s string) string {
	if len(s) > maxError {
		s = s[:maxError] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// process is a renderer process under way.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	lines  chan result
	fault  *tail
	wait   func() error
}

func start(ctx context.Context, j job, cs []runners.Conversation) (*process, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{childName}
	cmd.Env = []string{"GOMAXPROCS=2", "GOTRACEBACK=none"}
	p := &process{cmd: cmd, cancel: cancel, lines: make(chan result), fault: &tail{}}
	cmd.Stderr = p.fault
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting a process for the chat template: %w", err)
	}
	go func() {
		defer in.Close()
		e := json.NewEncoder(in)
		if e.Encode(j) != nil {
			return // it died; the reader finds out why
		}
		for _, c := range cs {
			if e.Encode(c) != nil {
				return
			}
		}
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		d := json.NewDecoder(&meter{r: out})
		for {
			var res result
			if d.Decode(&res) != nil {
				return
			}
			select {
			case p.lines <- res:
			case <-ctx.Done():
				return
			}
		}
	}()
	p.wait = sync.OnceValue(func() error {
		<-read
		return cmd.Wait()
	})
	return p, nil
}

// next gives the next result, or why there will be none.
func (p *process) next(ctx context.Context, deadline time.Duration) (res result, why string) {
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case res, ok := <-p.lines:
		if ok {
			return res, ""
		}
		err := p.wait()
		switch text := p.fault.String(); {
		case strings.Contains(text, "stack exceeds"), strings.Contains(text, "stack overflow"):
			return res, "the template recursed too deep"
		case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"):
			return res, fmt.Sprintf("the template used more than %d MiB", maxMemory>>20)
		default:
			return res, fmt.Sprintf("the template's process ended: %v", err)
		}
	case <-timer.C:
		return res, fmt.Sprintf("the template ran longer than %v", deadline)
	case <-ctx.Done():
		return res, "cancelled"
	}
}

// stop kills the process and waits for its end.
func (p *process) stop() {
	p.cancel()
	_ = p.wait() // killed: its error says nothing new
}

// tail keeps the beginning of what a dying process says.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 4096 - t.b.Len(); room > 0 {
		t.b.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// meter ends a stream in which one line is longer than any result.
type meter struct {
	r    io.Reader
	line int
}

var errLine = errors.New("a result too long")

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if i := bytes.LastIndexByte(b[:n], '\n'); i >= 0 {
		m.line = n - i - 1
	} else {
		m.line += n
	}
	if m.line > maxLine {
		return 0, errLine
	}
	return n, err
}
