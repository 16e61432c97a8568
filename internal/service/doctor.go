package service

import (
	"os"

	"github.com/satishost/terraform-provider-rathole/internal/doctor"
	"github.com/satishost/terraform-provider-rathole/internal/secret"
)

// Settings are the flags as doctor sees them: what Serve would work with. The caller adds what it alone knows, the engine
// and the place of the records.
func (f Flags) Settings(p Program, listen string) (doctor.Settings, error) {
	state, logs, err := f.directories(p.Name)
	if err != nil {
		return doctor.Settings{}, err
	}
	uids := f.UnitUIDs
	if uids == "" {
		uids = p.UIDs
	}
	return doctor.Settings{
		Program: p.Name, State: state, Logs: logs, UIDs: uids,
		Token: secret.New(os.Getenv("RATHOLE_TOKEN")), TokenFile: f.TokenFile, NoAuth: f.NoAuth,
		Listen: listen, TLSCert: f.TLSCert, TLSKey: f.TLSKey, PlainHTTP: f.PlainHTTP,
	}, nil
}
