package main

import (
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weighbridge/weighbridge/harness/sandbox"
)

// boxOptions are the flags of every verb that starts boxes.
type boxOptions struct {
	runtime    string
	path       string
	containerd string
	state      string
	engine     string
	life       time.Duration
}

func (o *boxOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.runtime, "runtime", sandbox.Runc, "runc, or runsc for gVisor")
	f.StringVar(&o.path, "runtime-path", "", "the runtime's program (default: beside weighbridge, then PATH)")
	f.StringVar(&o.containerd, "containerd", "", "containerd's socket, or `private` for a daemon of our own (default: the system's, else private)")
	f.StringVar(&o.state, "state", "", "folder for sockets and the private daemon (default /run/weighbridge)")
	f.StringVar(&o.engine, "engine", "", "the program that runs inside the boxes (default: modelserver beside weighbridge)")
	f.DurationVar(&o.life, "box-life", defaultLife, "the longest life of a box")
}

func (o *boxOptions) enginePath(a *app) string {
	if o.engine != "" {
		return o.engine
	}
	return filepath.Join(filepath.Dir(a.Executable), "modelserver")
}

func (o *boxOptions) config(a *app) sandbox.Config {
	c := sandbox.Config{Address: o.containerd, StateDir: o.state, Runtime: o.runtime, RuntimePath: o.path}
	if c.RuntimePath == "" {
		beside := filepath.Join(filepath.Dir(a.Executable), o.runtime)
		if _, err := os.Stat(beside); err == nil {
			c.RuntimePath = beside
		}
	}
	return c
}

func sandboxCommand(a *app) *cobra.Command {
	o := &boxOptions{}
	check := &cobra.Command{
		Use:   "check",
		Short: "Start one box and let it prove its walls",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := sandbox.Check(c.Context(), o.config(a), o.enginePath(a), guestArgs...)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s\n%s\n\n", visible(r.Daemon), visible(r.Runtime))
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, x := range r.Proof.Checks {
				mark := "ok"
				if !x.OK {
					mark = "FAILED"
				}
				fmt.Fprintf(w, "%s\t%s\tgot %s\twant %s\n", mark, x.Name, visible(x.Got), x.Want)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if !r.Proof.OK() {
				return fmt.Errorf("the box is not sealed: %d of %d checks failed", len(r.Proof.Failed()), len(r.Proof.Checks))
			}
			fmt.Fprintf(a.Stdout, "\nthe box is sealed: all %d checks hold\n", len(r.Proof.Checks))
			return nil
		},
	}
	o.flags(check.Flags())
	c := &cobra.Command{Use: "sandbox", Short: "Look after the boxes"}
	c.AddCommand(check)
	return c
}

// guestArgs satisfy the engine's command line. A check asks it nothing, so it
// never looks for the file.
var guestArgs = []string{"-model", "/weights/model.gguf"}
