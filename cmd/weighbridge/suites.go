package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/suites"
)

func suitesCommand(a *app) *cobra.Command {
	c := &cobra.Command{Use: "suites", Short: "List the built-in suites, or check a suite file"}
	c.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the built-in suites",
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, name := range suites.Builtin() {
				s, err := suites.Load(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%d tokens per model\t%s\n", s.Name, s.Budget, s.Description)
			}
			return w.Flush()
		},
	}, &cobra.Command{
		Use:   "lint FILE",
		Short: "Check a suite or task file and everything it names",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			problems := suites.Lint(args[0])
			for _, p := range problems {
				fmt.Fprintln(a.Stdout, visible(p.Error()))
			}
			if len(problems) > 0 {
				return usagef("%s: %d problems", args[0], len(problems))
			}
			fmt.Fprintf(a.Stdout, "%s: fine\n", visible(args[0]))
			return nil
		},
	})
	return c
}
