package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/reports"
)

func reportCommand(a *app) *cobra.Command {
	var format, out string
	c := &cobra.Command{
		Use:   "report REPORT.parquet",
		Short: "Render a report as a page, a summary or a machine's format",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) (err error) {
			r, err := reports.Open(args[0])
			if err != nil {
				return err
			}
			defer r.Close()
			if out != "" {
				return reports.RenderFile(out, format, r, reports.Options{})
			}
			return reports.Render(a.Stdout, format, r, reports.Options{Width: a.StdoutWidth, Colour: a.colour()})
		},
	}
	c.Flags().StringVar(&format, "format", "text", fmt.Sprintf("one of %v", reports.Formats()))
	c.Flags().StringVarP(&out, "output", "o", "", "file to write instead of standard output")
	return c
}

// colour says whether standard output may be coloured (https://no-color.org).
func (a *app) colour() bool { return a.StdoutWidth > 0 && a.Getenv("NO_COLOR") == "" }
