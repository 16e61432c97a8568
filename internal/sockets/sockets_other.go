//go:build !linux

package sockets

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

var errNotLinux = fmt.Errorf("the socket table is read from a Linux kernel: %w", errors.ErrUnsupported)

// List needs Linux.
func List(context.Context, Query) ([]Socket, error) { return nil, errNotLinux }

// Ends needs Linux.
func Ends(context.Context, func([]Socket, bool)) error { return errNotLinux }

// Bindable needs Linux.
func Bindable(api.Protocol, netip.AddrPort) error { return errNotLinux }

// Holder needs Linux.
func Holder(context.Context, api.Protocol, netip.AddrPort) (Owner, bool, error) {
	return Owner{}, false, errNotLinux
}

// Inodes needs Linux.
func Inodes(int) (map[uint64]struct{}, error) { return nil, errNotLinux }

// Of needs Linux.
func Of(int, int) (func(Socket) bool, error) { return nil, errNotLinux }

// DualStack needs Linux.
func DualStack() (bool, error) { return false, errNotLinux }
