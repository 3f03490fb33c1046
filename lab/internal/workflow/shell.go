package workflow

import (
	"regexp"
	"slices"
	"strings"
)

// Command is one call of a program.
type Command struct {
	Where string   // the step's title
	Words []string // what follows the program's name: subcommands, operands, and the flags' values unless given by "="
	Flags []string // as written, without "=VALUE": "--baseline", "-v"; those of arrays too
}

// word is a word of the shell, or an operator where op.
type word struct {
	text   string
	op     bool
	quoted bool
}

var (
	arrayStart = regexp.MustCompile(`^([A-Za-z_]\w*)\+?=$`)
	arrayUse   = regexp.MustCompile(`^\$\{([A-Za-z_]\w*)\[@\]\}$`)
)

// Commands lists the calls of program in a script, in its order.
func Commands(script, program string) []Command {
	words := split(script)
	arrays := map[string][]string{} // the flags that an array may hold
	for i, w := range words {
		m := arrayStart.FindStringSubmatch(w.text)
		if m == nil || i+1 >= len(words) || !words[i+1].op || words[i+1].text != "(" {
			continue
		}
		for _, e := range words[i+2:] {
			if e.op {
				break
			}
			arrays[m[1]] = appendFlag(arrays[m[1]], e)
		}
	}
	var all []Command
	for i := 0; i < len(words); i++ {
		if words[i].op || words[i].text != program || !startsCommand(words, i) {
			continue
		}
		var c Command
		for i++; i < len(words) && !words[i].op; i++ {
			if m := arrayUse.FindStringSubmatch(words[i].text); m != nil {
				c.Flags = append(c.Flags, arrays[m[1]]...)
			} else if n := len(c.Flags); len(appendFlag(c.Flags, words[i])) > n {
				c.Flags = appendFlag(c.Flags, words[i])
			} else {
				c.Words = append(c.Words, words[i].text)
			}
		}
		all = append(all, c)
	}
	return all
}

// startsCommand reports whether the word at i is where a command's name stands.
func startsCommand(words []word, i int) bool {
	return i == 0 || words[i-1].op || slices.Contains([]string{"then", "do", "else", "if", "!", "exec", "sudo"}, words[i-1].text)
}

func appendFlag(flags []string, w word) []string {
	if w.quoted || !strings.HasPrefix(w.text, "-") || w.text == "-" || w.text == "--" {
		return flags
	}
	name, _, _ := strings.Cut(w.text, "=")
	return append(flags, name)
}

// split breaks a script into words and operators, which end a command. Redirections are left out, with their targets.
func split(script string) []word {
	script = strings.ReplaceAll(script, "\\\n", " ")
	var words []word
	var b strings.Builder
	begun, quoted, target := false, false, false
	end := func() {
		if begun && !target {
			words = append(words, word{text: b.String(), quoted: quoted})
		}
		target = target && !begun
		b.Reset()
		begun, quoted = false, false
	}
	for i := 0; i < len(script); i++ {
		switch ch := script[i]; {
		case ch == '\'' || ch == '"':
			close := closing(script, i)
			quoted = quoted || !begun
			begun = true
			b.WriteString(script[i+1 : close])
			i = close
		case ch == '$' && i+1 < len(script) && (script[i+1] == '{' || script[i+1] == '('):
			close := closing(script, i+1)
			begun = true
			b.WriteString(script[i:min(close+1, len(script))])
			i = close
		case ch == '#' && !begun:
			end()
			for i+1 < len(script) && script[i+1] != '\n' {
				i++
			}
		case ch == ' ' || ch == '\t':
			end()
		case ch == '<' || ch == '>':
			if b.String() != "1" && b.String() != "2" { // 2> is one operator
				end()
			}
			b.Reset()
			begun, target = false, true
			for i+1 < len(script) && strings.IndexByte("<>&", script[i+1]) >= 0 {
				i++
			}
		case strings.IndexByte("\n;|&()", ch) >= 0:
			end()
			target = false
			words = append(words, word{text: string(ch), op: true})
		default:
			begun = true
			b.WriteByte(ch)
		}
	}
	end()
	return words
}

// closing returns where what opens at i closes, or the script's end.
func closing(script string, i int) int {
	open := script[i]
	shut := map[byte]byte{'{': '}', '(': ')'}[open]
	depth := 0
	for j := i + 1; j < len(script); j++ {
		switch {
		case shut == 0 && open == '"' && script[j] == '\\':
			j++
		case shut == 0 && script[j] == open:
			return j
		case shut != 0 && script[j] == open:
			depth++
		case shut != 0 && script[j] == shut && depth == 0:
			return j
		case shut != 0 && script[j] == shut:
			depth--
		}
	}
	return len(script)
}
