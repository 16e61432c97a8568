package supervisor

import (
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/limits"
)

// exhausted turns an error that means an exhausted limit of the machine into a Failure that names it; nil for any other.
// uid is the unit's user, 0 for the service's own.
func exhausted(err error, uid int) *Failure {
	if uid == 0 {
		uid = os.Geteuid()
	}
	trouble, found := limits.This().Explain(err, uid)
	if !found {
		return nil
	}
	return &Failure{Reason: string(trouble.Reason), Message: trouble.Message}
}

// mayShrink tells of an error that a removal can do without its commit point, and mends: the disk is full.
func mayShrink(err error) bool {
	f := exhausted(err, 0)
	return f != nil && f.Reason == string(limits.DiskFull)
}
