// Package faults kills the manager and the agent, at random moments and at every named crash point; breaks engines; replaces
// both services in place; makes and removes tunnels without end; and compares what is left with what was acknowledged, while
// players play. It holds tests only: make test runs a short version, make soak the long one.
//
// FAULTS_SEED repeats the choices of a run; a sequence that fails names a seed of its own, which begins with it.
// FAULTS_KILLS, FAULTS_TUNNELS, FAULTS_ROUNDS, FAULTS_FREEZE, FAULTS_BACKOFF and FAULTS_CHURN are how much is done.
package faults
