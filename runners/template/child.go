package template

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/runners"
)

// childName is argument 0 of a renderer process.
const childName = "weighbridge-template"

const (
	maxMemory = 512 << 20 // bytes of private memory of a renderer process
	maxStack  = 64 << 20
	maxCPU    = 600 // seconds; a backstop for a renderer whose parent is gone
)

// job is the first line that a renderer process reads.
type job struct {
	Source string            `json:"source"`
	Vars   map[string]string `json:"vars"`
}

// result is what it writes: a first one for the job, whose Error says that the
// template does not parse, then one per conversation.
type result struct {
	Text  string `json:"text"`
	Error string `json:"error,omitempty"`
}

// RunChild serves as a renderer process when this process was started as one,
// and does not return then. Otherwise it does nothing.
func RunChild() {
	if len(os.Args) == 0 || os.Args[0] != childName {
		return
	}
	debug.SetMaxStack(maxStack)
	for what, most := range map[int]uint64{unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			os.Exit(3)
		}
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(r io.Reader, w io.Writer) error {
	in, out := json.NewDecoder(bufio.NewReader(r)), json.NewEncoder(w)
	out.SetEscapeHTML(false)
	var j job
	if err := in.Decode(&j); err != nil {
		return err
	}
	p, err := parse(j.Source, j.Vars)
	if err != nil {
		return out.Encode(result{Error: err.Error()})
	}
	if err := out.Encode(result{}); err != nil {
		return err
	}
	for {
		var c runners.Conversation
		if err := in.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var res result
		if res.Text, err = p.render(c); err != nil {
			res.Error = err.Error()
		}
		if err := out.Encode(res); err != nil {
			return err
		}
	}
}
