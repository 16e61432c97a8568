package command

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion prints what makes a shell complete commands, flags, their values and ids.
type Completion struct {
	Shell string `arg:"" help:"The shell: ${enum}." enum:"bash,zsh,fish"`
}

// Run prints the script. It needs no service; the script asks one for the ids.
func (c Completion) Run(parsed *kong.Context, e *Env) error {
	var b strings.Builder
	switch c.Shell {
	case "fish":
		fish(&b, parsed.Model)
	case "zsh":
		b.WriteString("autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n")
		bash(&b, parsed.Model)
	default:
		bash(&b, parsed.Model)
	}
	_, err := io.WriteString(e.Stdout, b.String())
	return err
}

// takesID tells whether a command's argument is the id of a unit.
func takesID(command *kong.Node) bool {
	return slices.ContainsFunc(command.Positional, func(p *kong.Value) bool { return p.Name == "id" })
}

// words are what may stand for a value: its choices.
func words(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Split(v.Enum, ","), func(w string) bool { return w == "" })
}

func visible(flags []*kong.Flag) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f *kong.Flag) bool { return f.Hidden })
}

func spellings(f *kong.Flag) []string {
	names := []string{"--" + f.Name}
	if f.Short != 0 {
		names = append(names, "-"+string(f.Short))
	}
	return names
}

// bash prints a function for bash's complete. What is inserted here is the program's own words: none needs quoting.
func bash(b *strings.Builder, app *kong.Application) {
	name := "_" + strings.ReplaceAll(app.Name, "-", "_")
	var commands []string
	for _, c := range app.Children {
		commands = append(commands, c.Name)
	}
	fmt.Fprintf(b, "%s() {\n", name)
	b.WriteString("\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= choices= i\n\tCOMPREPLY=()\n")
	fmt.Fprintf(b, "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t%s) cmd=${COMP_WORDS[i]}; break ;;\n\t\tesac\n\tdone\n", strings.Join(commands, "|"))
	b.WriteString("\tcase $cmd:$prev in\n")
	var others []string // flags whose values are files, or anything
	values := func(command string, flags []*kong.Flag) {
		for _, f := range flags {
			var patterns []string
			for _, s := range spellings(f) {
				patterns = append(patterns, command+":"+s)
			}
			pattern := strings.Join(patterns, "|")
			switch w := words(f.Value); {
			case f.IsBool() || f.Name == "help" || f.Name == "version":
			case w != nil:
				fmt.Fprintf(b, "\t%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", pattern, strings.Join(w, " "))
			default:
				others = append(others, pattern)
			}
		}
	}
	for _, c := range app.Children {
		values(c.Name, visible(c.Flags))
	}
	values("*", visible(app.Flags))
	fmt.Fprintf(b, "\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", strings.Join(others, "|"))
	b.WriteString("\tesac\n\tcase $cmd:$cur in\n")
	choose := func(pattern string, choices []string, more string) {
		fmt.Fprintf(b, "\t%s) choices=\"%s\" ;;\n", pattern, strings.Join(choices, " ")+more)
	}
	flags := func(all ...[]*kong.Flag) (names []string) {
		for _, f := range slices.Concat(all...) {
			names = append(names, "--"+f.Name)
		}
		return names
	}
	choose(":-*", flags(visible(app.Flags)), "")
	choose(":*", commands, "")
	for _, c := range app.Children {
		choose(c.Name+":-*", flags(visible(c.Flags), visible(app.Flags)), "")
		if takesID(c) {
			choose(c.Name+":*", nil, "$("+app.Name+" list -o id 2>/dev/null)")
		}
		for _, p := range c.Positional {
			if w := words(p); w != nil {
				choose(c.Name+":*", w, "")
			}
		}
	}
	fmt.Fprintf(b, "\tesac\n\tCOMPREPLY=($(compgen -W \"$choices\" -- \"$cur\"))\n}\ncomplete -F %s %s\n", name, app.Name)
}

func fish(b *strings.Builder, app *kong.Application) {
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
	flag := func(condition string, f *kong.Flag) {
		fmt.Fprintf(b, "complete -c %s%s -l %s", app.Name, condition, f.Name)
		if f.Short != 0 {
			fmt.Fprintf(b, " -s %c", f.Short)
		}
		switch w := words(f.Value); {
		case f.IsBool() || f.Name == "help" || f.Name == "version":
		case w != nil:
			fmt.Fprintf(b, " -x -a %s", quote(strings.Join(w, " ")))
		default:
			b.WriteString(" -r -F")
		}
		fmt.Fprintf(b, " -d %s\n", quote(f.Help))
	}
	fmt.Fprintf(b, "complete -c %s -f\n", app.Name)
	for _, f := range visible(app.Flags) {
		flag("", f)
	}
	for _, c := range app.Children {
		fmt.Fprintf(b, "complete -c %s -n __fish_use_subcommand -a %s -d %s\n", app.Name, c.Name, quote(c.Help))
		condition := " -n '__fish_seen_subcommand_from " + c.Name + "'"
		if takesID(c) {
			fmt.Fprintf(b, "complete -c %s%s -a '(%s list -o id 2>/dev/null)'\n", app.Name, condition, app.Name)
		}
		for _, p := range c.Positional {
			if w := words(p); w != nil {
				fmt.Fprintf(b, "complete -c %s%s -a %s\n", app.Name, condition, quote(strings.Join(w, " ")))
			}
		}
		for _, f := range visible(c.Flags) {
			flag(condition, f)
		}
	}
}
