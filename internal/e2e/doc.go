// Package e2e holds the tests that need everything at once: the command line, the provider as a program of its own, manager,
// agent, engine, a game and its players.
package e2e
