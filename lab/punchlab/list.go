package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/stack"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/punchlab/punchlab/topologies"
	"github.com/spf13/cobra"
)

var listed = map[string]func() (rows [][]string, err error){
	"topologies": listTopologies, "scenarios": listScenarios, "nats": listNATs, "links": listLinks, "strategies": listStrategies,
	"cases": listCases,
}

var listOrder = []string{"topologies", "scenarios", "strategies", "nats", "links", "cases"}

func listCommand() *cobra.Command {
	var asJSON, asMarkdown bool
	var engine string
	c := &cobra.Command{
		Use:   "list " + strings.Join(listOrder, "|"),
		Short: "List what the lab has",
		Long: `List what the lab has. 'list nats' has the presets; with --engine it has the single behaviours, whether that engine
can do them, and the test that shows it or the reason why not. 'list cases' has what a camera is held to (certify).`,
		Example:   "  punchlab list nats\n  punchlab list nats --engine table\n  punchlab list nats --engine all --markdown\n  punchlab list scenarios --json",
		Args:      cobra.ExactArgs(1),
		ValidArgs: listOrder,
		RunE: func(_ *cobra.Command, args []string) error {
			list := listed[args[0]]
			if list == nil {
				return usagef("can't list %q: there are %s", args[0], strings.Join(listOrder, ", "))
			}
			switch {
			case asJSON && asMarkdown:
				return usagef("--json and --markdown: give one of them")
			case engine == "":
			case args[0] != "nats":
				return usagef("--engine goes with 'list nats'")
			case engine != allEngines && !slices.Contains(lab.RouterEngines(), engine):
				return usagef("unknown engine %q: there are %s and %s", engine, strings.Join(lab.RouterEngines(), ", "), allEngines)
			default:
				list = func() ([][]string, error) { return listFeatures(engine), nil }
			}
			rows, err := list()
			switch {
			case err != nil:
				return labError(err)
			case asJSON:
				return json.NewEncoder(os.Stdout).Encode(objects(rows))
			case asMarkdown:
				markdown(os.Stdout, rows)
			default:
				table(os.Stdout, rows)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of objects")
	c.Flags().BoolVar(&asMarkdown, "markdown", false, "print a Markdown table")
	c.Flags().StringVar(&engine, "engine", "", "nats: what this engine can do ("+strings.Join(lab.RouterEngines(), ", ")+" or "+allEngines+")")
	_ = c.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(append(lab.RouterEngines(), allEngines), cobra.ShellCompDirectiveNoFileComp))
	return c
}

// allEngines asks for every engine at once.
const allEngines = "all"

// listFeatures lists the single behaviours and how an engine has them.
func listFeatures(engine string) [][]string {
	engines := []string{engine}
	if engine == allEngines {
		engines = lab.RouterEngines()
	}
	head := []string{"BEHAVIOR", "RFC"}
	for _, e := range engines {
		head = append(head, strings.ToUpper(e), strings.ToUpper(e)+" TEST OR REASON")
	}
	rows := [][]string{head}
	for _, f := range nat.Features() {
		row := []string{f.Title, f.RFC}
		for _, e := range engines {
			s := f.Engines[e]
			switch {
			case s.Test == "":
				row = append(row, "no", s.Reason)
			case s.Reason == "":
				row = append(row, "yes", s.Test)
			default:
				row = append(row, "yes", s.Test+"; differs: "+s.Reason)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// markdown prints a table with a heading.
func markdown(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintln(w, "| "+strings.Join(row, " | ")+" |")
		if i == 0 {
			fmt.Fprintln(w, "|"+strings.Repeat("---|", len(row)))
		}
	}
}

// objects turns a table with a heading into objects.
func objects(rows [][]string) []map[string]string {
	out := make([]map[string]string, 0, len(rows))
	for _, r := range rows[1:] {
		o := map[string]string{}
		for i, k := range rows[0] {
			o[strings.ToLower(k)] = r[i]
		}
		out = append(out, o)
	}
	return out
}

func listTopologies() ([][]string, error) {
	rows := [][]string{{"NAME", "HOSTS", "SUMMARY"}}
	for _, name := range topologies.Names() {
		t, _, err := topologies.Load(name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, []string{name, strings.Join(t.Hosts(), ","), t.Summary})
	}
	return rows, nil
}

func listScenarios() ([][]string, error) {
	rows := [][]string{{"NAME", "TOPOLOGY", "CELLS", "TRIALS", "SUMMARY"}}
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, []string{name, s.Topology, fmt.Sprint(len(s.Cells())), fmt.Sprint(s.Trials), s.Summary})
	}
	return rows, nil
}

func listNATs() ([][]string, error) {
	rows := [][]string{{"NAME", "MAPPING", "FILTERING", "PORTS", "NETFILTER", "TABLE", "SUMMARY"}}
	for _, p := range nat.Presets() {
		can := "yes"
		if err := netfilter.Supports(p.Behavior); err != nil {
			can = "no: " + strings.TrimPrefix(err.Error(), netfilter.ErrUnsupported.Error()+": ")
		}
		ports := p.Behavior.PortAssignment.String()
		rows = append(rows, []string{p.Name, p.Behavior.Mapping.String(), p.Behavior.Filtering.String(), ports, can, "yes", p.Summary})
	}
	return rows, nil
}

func listLinks() ([][]string, error) {
	rows := [][]string{{"NAME", "UP", "DOWN", "SOURCE"}}
	for _, p := range link.Presets() {
		rows = append(rows, []string{p.Name, impairment(p.Up), impairment(p.Down), p.Source})
	}
	return rows, nil
}

func impairment(i link.Impairment) string {
	s := i.Delay.String()
	if i.Jitter > 0 {
		s += "±" + i.Jitter.String()
	}
	switch {
	case i.Trace != nil:
		s += fmt.Sprintf(" trace %s, %.3g Mbit/s in the mean", i.Trace.Name, float64(i.MeanRate())/1e6)
	case i.Rate > 0:
		s += fmt.Sprintf(" %g Mbit/s", float64(i.Rate)/1e6)
	}
	if i.AQM != link.DropTail {
		s += " " + i.AQM.String()
	}
	if i.Loss > 0 {
		s += fmt.Sprintf(" loss %g%%", 100*i.Loss)
	}
	if i.Burst != nil {
		s += " bursts"
	}
	if i.MTU > 0 {
		s += fmt.Sprintf(" MTU %d", i.MTU)
	}
	if i.MTUBlackhole {
		s += " blackhole"
	}
	return s
}

func listStrategies() ([][]string, error) {
	rows := [][]string{{"NAME", "SYSTEM", "SUMMARY"}}
	for _, s := range stack.Systems() {
		for _, name := range s.Strategies() {
			summary := ""
			if t, ok := s.(stack.Summarizer); ok {
				summary = t.Summary(name)
			}
			rows = append(rows, []string{name, s.Name(), summary})
		}
	}
	return rows, nil
}

func showCommand() *cobra.Command {
	var set []string
	var engine string
	var asJSON, asSVG bool
	c := &cobra.Command{
		Use:     "show TOPOLOGY|CASE",
		Short:   "Draw a topology with its addresses and behaviours, or describe a case in full",
		Example: "  punchlab show two-homes --set camera.nat=symmetric\n  punchlab show cgn --svg > cgn.svg\n  punchlab show NAT-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isCase(args[0]) {
				if err := without(cmd.Flags(), "is of topologies: "+args[0]+" is a case", "set", "engine", "svg"); err != nil {
					return err
				}
				return showCase(args[0], asJSON)
			}
			if asJSON && asSVG {
				return usagef("--json and --svg: give one of them")
			}
			t, err := loadTopology(args[0], engine, set)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(struct {
					*lab.Topology
					Digest string
				}{t, t.Digest()})
			}
			if asSVG {
				_, err := os.Stdout.WriteString(t.DrawSVG())
				return err
			}
			fmt.Print(t.Draw())
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return topologies.Names(), cobra.ShellCompDirectiveDefault
		},
	}
	c.Flags().StringArrayVar(&set, "set", nil, "set `site.key=value`")
	c.Flags().StringVar(&engine, "engine", lab.EngineNetfilter, "what the routers are that name no engine: netfilter or table")
	c.Flags().BoolVar(&asSVG, "svg", false, "draw an SVG picture")
	c.Flags().BoolVar(&asJSON, "json", false, "print the resolved topology as JSON")
	return c
}
