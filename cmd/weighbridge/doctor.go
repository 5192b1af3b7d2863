package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/sandbox"
)

func doctorCommand(a *app) *cobra.Command {
	o := &boxOptions{}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether this machine has what weighbridge needs, and how to get it",
		RunE: func(c *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			missing := 0
			for _, x := range diagnose(c.Context(), a, o) {
				mark := "ok"
				if x.err != nil {
					mark, x.what = "MISSING", x.err.Error()
					if x.optional {
						mark = "absent"
					} else {
						missing++
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", mark, x.name, visible(x.what))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if missing > 0 {
				return usagef("%d things are missing; `make deps` installs them on Debian", missing)
			}
			return nil
		},
	}
	o.flags(c.Flags())
	return c
}

// diagnosis is one line of doctor.
type diagnosis struct {
	name, what string
	err        error
	optional   bool
}

func diagnose(ctx context.Context, a *app, o *boxOptions) []diagnosis {
	ds := []diagnosis{{name: "machine", what: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}}
	e, err := measure.OpenEngine(o.enginePath(a))
	d := diagnosis{name: "engine", err: err}
	if err == nil {
		d.what = fmt.Sprintf("%s, sha256:%s", e.Path, e.Digest)
	}
	ds = append(ds, d)
	for _, name := range []string{"containerd", "runc"} {
		path, err := exec.LookPath(name)
		if err != nil {
			err = fmt.Errorf("not in PATH (apt-get install %s)", name)
		}
		ds = append(ds, diagnosis{name: name, what: path, err: err})
	}
	for _, rt := range []string{sandbox.Runc, sandbox.Runsc} {
		one := *o
		one.runtime = rt
		r, err := sandbox.Check(ctx, one.config(a), o.enginePath(a), guestArgs...)
		d := diagnosis{name: "box, " + rt, err: err, optional: rt == sandbox.Runsc}
		if err == nil {
			d.what = fmt.Sprintf("%s; %s; %d checks hold", r.Daemon, r.Runtime, len(r.Proof.Checks))
		}
		ds = append(ds, d)
	}
	return ds
}
