package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/probes"
	_ "github.com/weighbridge/weighbridge/probes/all"
)

func probesCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "probes", Short: "List the probes, or explain one"}
	c.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the probes and the questions they ask",
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, p := range probes.All() {
				fmt.Fprintf(w, "%s\t%s\n", p.About().ID, p.About().Question)
			}
			return w.Flush()
		},
	}, &cobra.Command{
		Use:   "show ID",
		Short: "Explain one probe: method, null, cost, what it sees and does not",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := probes.Lookup(args[0])
			if err != nil {
				return err
			}
			x := p.About()
			fmt.Fprintf(a.Stdout, "%s\n\n  %s\n\nMethod: %s\n\nNull:   %s\n\nCost:   %s\n\nSees:   %v\nBlind:  %v\nNeeds:  %s\n",
				x.ID, x.Question, x.Method, x.Null, x.Cost, x.Sees, x.Blind, needs(x.Needs))
			if len(x.Params) > 0 {
				fmt.Fprintln(a.Stdout, "\nParameters that a suite may set:")
			}
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, p := range x.Params {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", p.Name, p.Default, p.Meaning)
			}
			return w.Flush()
		},
	})
	return c
}

func needs(n probes.Needs) string {
	s := ""
	for _, x := range []struct {
		on   bool
		what string
	}{
		{n.Files, "nothing but the files"}, {n.Scores, "scores"}, {n.Template, "a chat template on both sides"},
		{n.SameIDs, "tokenizers that give the same ids"}, {n.Weights, "tensors that can be compared"},
	} {
		if !x.on {
			continue
		}
		if s != "" {
			s += ", "
		}
		s += x.what
	}
	if s == "" {
		return "models that answer"
	}
	return s
}
