// Package worlds holds the tests that break the world around tunnels, for real, and see whether the status tells what is
// broken, whether the tunnels come back by themselves, and whether nobody else noticed.
package worlds
