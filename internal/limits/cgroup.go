package limits

import (
	"path"
	"slices"
	"strings"
)

// group is a cgroup: its name, and the directory of its files.
type group struct{ name, dir string }

// groups gives the cgroup of this process, and those around it, from the inside out, in the hierarchy that has a
// controller: version 1 where it is mounted, else version 2. A limit of any of them binds.
func (k Kernel) groups(controller string) []group {
	members, err := k.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var one, two string
	for line := range strings.Lines(string(members)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) < 3:
		case parts[1] == "":
			two = parts[2]
		case slices.Contains(strings.Split(parts[1], ","), controller):
			one = parts[2]
		}
	}
	kind, name := "cgroup2", two
	if one != "" {
		kind, name = "cgroup", one
	}
	root, dir := k.mount(kind, controller)
	if dir == "" || name == "" {
		return nil
	}
	if root != "/" { // a part of the hierarchy is mounted, as in a container
		name = strings.TrimPrefix(name, root)
	}
	var found []group
	for name = path.Clean("/" + name); ; name = path.Dir(name) {
		found = append(found, group{name: name, dir: path.Join(dir, name)})
		if name == "/" {
			return found
		}
	}
}

// mount finds where a hierarchy of cgroups is mounted, and which part of it.
func (k Kernel) mount(kind, controller string) (root, dir string) {
	text, err := k.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ""
	}
	for line := range strings.Lines(string(text)) {
		place, system, found := strings.Cut(line, " - ")
		before, after := strings.Fields(place), strings.Fields(system)
		if !found || len(before) < 5 || len(after) < 3 || after[0] != kind {
			continue
		}
		if kind == "cgroup2" || slices.Contains(strings.Split(after[2], ","), controller) {
			return before[3], before[4]
		}
	}
	return "", ""
}
