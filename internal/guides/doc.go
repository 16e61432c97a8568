// Package guides follows the guides of docs/guides as a reader would, with the real Terraform, manager, agents and engines:
// files that a page shows are written, commands are typed, and what they are said to answer they must answer.
package guides
