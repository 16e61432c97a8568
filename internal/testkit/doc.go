// Package testkit gives tests of any package the real thing: rathole, a game to tunnel to, managers and agents on
// addresses of their own.
//
// Every manager and every game gets a loopback address that nothing else on the machine uses (all of 127.0.0.0/8 is
// local), so tests run in parallel, and beside any other program, without sharing a port.
package testkit
