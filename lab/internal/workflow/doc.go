// Package workflow reads GitHub workflows and composite actions (YAML), for tests that hold them to the program that they
// call: which commands and flags of it do their shell scripts use?
//
//	jobs.*.steps[].run ─┐
//	runs.steps[].run ───┴─► Step ─► words of the shell ─► Command{punchlab gate --baseline … --format …}
//
// It knows as much of the shell as such scripts need: quotes, comments, line continuations, pipes, lists and arrays that
// collect flags (flags+=(--trials "$TRIALS") … "${flags[@]}"). It expands nothing.
package workflow
