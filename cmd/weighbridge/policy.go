package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/policies"
)

func policyCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Read, check and test policies",
		Long: `A policy is a YAML file whose rules are CEL expressions over a run: docs/policy.md
says which fields there are. Wherever a policy is asked for, the name of one that
weighbridge ships will do: ` + strings.Join(policies.Names(), ", ") + `.`,
	}
	c.AddCommand(policyLint(a), policyTest(a), policyShow(a))
	return c
}

func policyLint(a *app) *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use:   "lint FILE|NAME",
		Short: "Check a policy without a run",
		Long: `lint finds what is wrong with a policy, each with its line and column: expressions
that do not compile, fields that do not exist, words that a field never has, and
rules that can never count.

Exit codes: 0 usable (warnings are printed), 1 warnings with --strict, 2 not usable.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := decide.Load(args[0])
			var problems *decide.ProblemsError
			if errors.As(err, &problems) {
				for _, x := range problems.Problems {
					fmt.Fprintln(a.Stdout, visible(x.String()))
				}
				return usagef("%s: %s", visible(args[0]), counted(len(problems.Problems), "error"))
			}
			if err != nil {
				return err
			}
			for _, w := range p.Warnings {
				fmt.Fprintf(a.Stdout, "%s\n", visible("warning: "+w.String()))
			}
			fmt.Fprintf(a.Stdout, "%s: usable, %s, %s\n", visible(p.Name), counted(len(p.Warnings), "warning"), p.Digest)
			if strict && len(p.Warnings) > 0 {
				return verdictCode(exitReject)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "exit with 1 on warnings")
	return c
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func policyTest(a *app) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "test FILE|NAME",
		Short: "Apply a policy to the cases beside it",
		Long: `test reads the cases in FILE's folder (policy.yaml has policy.cases.yaml) and
compares what the policy says of each with what it has to say.

Exit codes: 0 all as expected, 1 some not, 2 policy or cases cannot be used.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := decide.Load(args[0])
			if err != nil {
				return err
			}
			cases, err := readCases(args[0], from)
			if err != nil {
				return err
			}
			failed := 0
			for _, r := range p.Test(cases) {
				word := "ok  "
				if r.Why != "" {
					word = "FAIL"
					failed++
				}
				fmt.Fprintf(a.Stdout, "%s  %-8s  %s\n", word, r.Verdict.Outcome, visible(r.Case.Name))
				if r.Why == "" {
					continue
				}
				fmt.Fprintf(a.Stdout, "      %s\n", visible(r.Why))
				for _, reason := range r.Verdict.Reasons {
					fmt.Fprintf(a.Stdout, "      %s: %s: %s\n", reason.Outcome, visible(reason.Rule), visible(reason.Message))
				}
			}
			fmt.Fprintf(a.Stdout, "%s, %d failed\n", counted(len(cases), "case"), failed)
			if failed > 0 {
				return verdictCode(exitReject)
			}
			return nil
		},
	}
	c.Flags().StringVar(&from, "cases", "", "file of cases (default: FILE with .cases.yaml)")
	return c
}

func readCases(policy, from string) ([]decide.Case, error) {
	var src []byte
	var err error
	switch {
	case from != "":
		src, err = os.ReadFile(from)
	case strings.ContainsAny(policy, `./\`):
		from = strings.TrimSuffix(strings.TrimSuffix(policy, ".yaml"), ".yml") + ".cases.yaml"
		src, err = os.ReadFile(from)
	default:
		from = policy + ".cases.yaml"
		src, err = policies.Cases(policy)
	}
	if err != nil {
		return nil, fmt.Errorf("cases: %w", err)
	}
	return decide.ParseCases(from, src)
}

func policyShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME|FILE",
		Short: "Print a policy, to read or to begin one's own with",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			src, err := decide.Source(args[0])
			if err != nil {
				return err
			}
			if _, err := decide.Parse(args[0], src); err != nil {
				return err
			}
			_, err = a.Stdout.Write(src)
			return err
		},
	}
}
