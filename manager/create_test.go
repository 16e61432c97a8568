package manager_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/wait"
)

func TestTunnelFromCreateToDelete(t *testing.T) {
	t.Parallel()
	m, a := testkit.StartManager(t, nil), testkit.StartAgent(t, nil)
	game := testkit.StartGame(t, "satisfactory", 30000, 30001)

	made, created, err := m.Create(t.Context(), api.CreateInstance{
		ServerID:     "srv_user123_abcd1234",
		InstanceSpec: api.InstanceSpec{GamePort: 30000, BeaconPort: 30001, HostIP: game.Host.String()},
	}, client.CreateOptions{})
	if err != nil || !created {
		t.Fatalf("create: %v, created %v", err, created)
	}
	if made.Status != api.StatusInactive || made.RatholePort < 10000 || made.RatholePort > 20000 || made.GamePort != 30000 {
		t.Errorf("created: %+v", made)
	}
	cfg, err := m.ClientConfig(t.Context(), made.ServerID, "")
	if err != nil || cfg.SHA256 != made.ClientConfigSHA256 {
		t.Fatalf("client config: %v, digest %s, want %s", err, cfg.SHA256, made.ClientConfigSHA256)
	}
	got, err := a.Configure(t.Context(), made.ServerID, cfg.Config, false)
	if err != nil || got.ConfigSHA256 != cfg.SHA256 {
		t.Fatalf("configure: %v, %+v", err, got)
	}
	up, err := m.Wait(t.Context(), made.ServerID, api.StatusHealthy, 10*time.Second)
	if err != nil || up.Status != api.StatusHealthy {
		t.Fatalf("wait: %v, %+v", err, up)
	}
	for _, port := range []int{30000, 30001} {
		testkit.MustReach(t, fmt.Sprintf("%s:%d", m.Bind, port), "satisfactory", api.TCP, api.UDP)
	}
	wait.Eventually(t, 5*time.Second, func() error {
		c, err := a.Get(t.Context(), made.ServerID)
		if err == nil && c.Status != api.StatusHealthy {
			err = fmt.Errorf("client is %s: %+v", c.Status, c.Conditions)
		}
		return err
	})
	if _, err := a.Stop(t.Context(), made.ServerID); err != nil {
		t.Fatal(err)
	}
	wait.Eventually(t, 5*time.Second, func() error {
		i, err := m.Get(t.Context(), made.ServerID)
		if err == nil && i.Status != api.StatusDown {
			err = fmt.Errorf("without a client it is %s: %+v", i.Status, i.Conditions)
		}
		return err
	})
	if err := m.Delete(t.Context(), made.ServerID); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Get(t.Context(), made.ServerID); !client.IsNotFound(err) {
		t.Errorf("get after delete: %v", err)
	}
}
