package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/weights"
)

func inspectCommand(a *app) *cobra.Command {
	var asJSON, tensors bool
	c := &cobra.Command{
		Use:   "inspect FILE.gguf",
		Short: "Show what a weight file says of itself, without running it",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := weights.InspectFile(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a, s)
			}
			return printSummary(a, s, tensors)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	c.Flags().BoolVar(&tensors, "tensors", false, "list the tensors too")
	return c
}

func printSummary(a *app, s weights.Summary, tensors bool) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, visible(fmt.Sprintf(format, args...)))
	}
	line("kind", "%s, GGUF version %d", s.Kind, s.Version)
	if s.Identity != "" {
		line("identity", "%s", s.Identity)
	}
	for _, f := range s.Files {
		line("file", "sha256:%s, %d bytes", f.SHA256, f.Bytes)
	}
	line("architecture", "%s, %q", s.Hyper.Architecture, s.Hyper.Name)
	line("parameters", "%d", s.Values)
	for _, t := range s.Types {
		line("  "+t.Type, "%d tensors, %d values, %d bytes", t.Tensors, t.Values, t.Bytes)
	}
	if t := s.Tokenizer; t != nil {
		line("tokenizer", "%s (%s), %d tokens, %d merges", t.Model, t.Pre, t.Tokens, t.Merges)
		if t.TemplateBytes > 0 {
			line("chat template", "%d bytes, sha256:%s", t.TemplateBytes, t.TemplateSHA256)
		} else {
			line("chat template", "none")
		}
	}
	if d := s.Adapter; d != nil {
		line("adapter", "LoRA, %d pairs, rank %d to %d, alpha %g", d.Pairs, d.MinRank, d.MaxRank, d.Alpha)
	}
	fmt.Fprintln(w)
	for _, m := range s.Metadata {
		line(visible(m.Key), "%s", m.Value)
	}
	if tensors {
		fmt.Fprintln(w)
		for _, t := range s.Tensors {
			line(visible(t.Name), "%s %v at %d, %d bytes", t.Type, t.Shape, t.Offset, t.Bytes)
		}
	}
	return w.Flush()
}
