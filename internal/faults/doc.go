// Package faults kills the manager and the agent, at random moments and at every named crash point, and compares what is
// left with what they had acknowledged. It holds tests only: make test runs a short version, make soak the long one.
package faults
