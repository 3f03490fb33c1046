// Package arch holds no code: its tests hold the project to its layout.
//
//	lab/punchlab → scenarios, reports → lab/runner → lab/stack → lab → engines → fabric → nat, link, packet
//	impl/…       → impl/… only
//
// Each rule in imports_test.go states its reason; a change that needs an exception changes the rule, in a commit of its own.
package arch
