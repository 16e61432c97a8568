package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolateCommand becomes another program, in a network namespace of its own if it may make one: whatever that program
// listens on or sends stays in there, and every port of the machine is free.
type isolateCommand struct {
	Command []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`
}

// Run returns only if the command could not be started.
func (c isolateCommand) Run() error {
	command := c.Command
	if command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return fmt.Errorf("isolate: no command")
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("isolate: %w", err)
	}
	// A namespace is entered by one thread, and exec keeps that of the thread that calls it. It is never unlocked: no
	// other goroutine may run on a thread with another network.
	runtime.LockOSThread()
	err = unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "isolate: running in the machine's own network, a namespace needs root: %v\n", err)
	} else if err := bringUp("lo"); err != nil {
		return fmt.Errorf("isolate: bring lo up: %w", err)
	}
	if err := syscall.Exec(path, command, os.Environ()); err != nil {
		return fmt.Errorf("isolate: exec %s: %w", path, err)
	}
	return nil
}

// bringUp sets the flag that ip link set up sets, in the namespace of the calling thread.
func bringUp(device string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}
