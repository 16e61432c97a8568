package provider

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/client"
	"github.com/satishost/terraform-provider-rathole/internal/testkit"
	testgame "github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// invoke runs an action as Terraform 1.14 does, and returns what it told on the way and at the end.
func (r *rpc) invoke(name, id string) (progress []string, diags []*tfprotov6.Diagnostic) {
	r.t.Helper()
	server, ok := r.ProviderServer.(tfprotov6.ProviderServerWithActions) //nolint:staticcheck // deprecated means: will be part of ProviderServer
	if !ok {
		r.t.Fatal("the provider has no actions")
	}
	typ := tftypes.Object{AttributeTypes: map[string]tftypes.Type{"server_id": tftypes.String}}
	stream, err := server.InvokeAction(r.t.Context(), &tfprotov6.InvokeActionRequest{ActionType: name, Config: r.encode(typ, values{"server_id": text(id)})})
	if err != nil {
		r.t.Fatal(err)
	}
	for event := range stream.Events {
		switch e := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			progress = append(progress, e.Message)
		case tfprotov6.CompletedInvokeActionEventType:
			diags = append(diags, e.Diagnostics...)
		}
	}
	return progress, diags
}

// query lists what a list block finds: names, and the resources if they are asked for.
func (r *rpc) query(limit int64, config values) (names []string, resources []tftypes.Value, diags []*tfprotov6.Diagnostic) {
	r.t.Helper()
	server, ok := r.ProviderServer.(tfprotov6.ProviderServerWithListResource) //nolint:staticcheck // as above
	if !ok {
		r.t.Fatal("the provider has no list resources")
	}
	typ := tftypes.Object{AttributeTypes: map[string]tftypes.Type{
		"prefix": tftypes.String, "status": tftypes.String, "labels": tftypes.Map{ElementType: tftypes.String},
	}}
	stream, err := server.ListResource(r.t.Context(), &tfprotov6.ListResourceRequest{
		TypeName: "rathole_instance", Config: r.encode(typ, config), IncludeResource: true, Limit: limit,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	identity := tftypes.Object{AttributeTypes: map[string]tftypes.Type{"server_id": tftypes.String}}
	for result := range stream.Results {
		diags = append(diags, result.Diagnostics...)
		if result.Identity == nil {
			continue
		}
		v, err := result.Identity.IdentityData.Unmarshal(identity)
		if err != nil {
			r.t.Fatal(err)
		}
		var id string
		if err := r.fields(v)["server_id"].As(&id); err != nil || id != result.DisplayName {
			r.t.Errorf("identity %q of %q, %v", id, result.DisplayName, err)
		}
		names, resources = append(names, id), append(resources, r.decode(result.Resource))
	}
	return names, resources, diags
}

func storyRestart(t *testing.T, b backend) {
	r := b.rpc(t)
	_, diags := r.apply(t.Context(), nil, b.resource(nil))
	mustBeSilent(t, diags)
	progress, diags := r.invoke("rathole_instance_restart", "srv")
	mustBeSilent(t, diags)
	if len(progress) != 3 || progress[2] != "The tunnel is up." {
		t.Errorf("progress: %q", progress)
	}
	if inst, err := b.manager(t).Get(t.Context(), "srv"); err != nil || inst.Status != api.StatusHealthy || inst.Revision != 1 {
		t.Errorf("%+v %v", inst, err)
	}
	_, diags = r.invoke("rathole_instance_restart", "none")
	mustSay(t, diags, "E Unable to restart instance: Manager "+b.ManagerURL+": instance_not_found")
	b.destroy(t, "srv")
}

func storyRotateSecret(t *testing.T, b backend) {
	r := b.rpc(t)
	state, diags := r.apply(t.Context(), nil, b.resource(nil))
	mustBeSilent(t, diags)
	before, err := b.manager(t).ClientConfig(t.Context(), "srv", "")
	if err != nil {
		t.Fatal(err)
	}
	progress, diags := r.invoke("rathole_instance_rotate_secret", "srv")
	mustBeSilent(t, diags)
	if len(progress) != 3 || progress[2] != "The tunnel is up." {
		t.Errorf("progress: %q", progress)
	}
	after, err := b.manager(t).ClientConfig(t.Context(), "srv", "")
	if err != nil || after.SHA256 == before.SHA256 {
		t.Errorf("the secrets are the old ones, %v", err)
	}
	if c, err := b.agent(t).Get(t.Context(), "srv"); err != nil || c.ConfigSHA256 != after.SHA256 {
		t.Errorf("the client has another config: %+v %v", c, err)
	}
	// A rotation is not a change of the configuration: the next plan has nothing to do.
	state, diags = r.read(state)
	mustBeSilent(t, diags)
	planned, diags := r.plan(&state, b.resource(nil))
	mustBeSilent(t, diags)
	if !planned.Equal(state) {
		t.Errorf("the plan has changes: %v", planned)
	}
	b.destroy(t, "srv")
}

// storyAskGame asks a game that is there, one of whose ports is not, and what cannot be asked.
func storyAskGame(t *testing.T, b backend) {
	host := testkit.Address(t)
	testkit.RespondUDP(t, host, b.Ports[0], testgame.Satisfactory)
	beacon := testkit.RespondTCP(t, host, b.Ports[1], func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	r := b.rpc(t)
	_, diags := r.apply(t.Context(), nil, b.resource(values{"beacon_port": number(b.Ports[1]), "host_ip": text(host.String()), "probe": text("satisfactory")}))
	mustBeSilent(t, diags)
	progress, diags := r.invoke("rathole_instance_probe", "srv")
	mustBeSilent(t, diags)
	told := regexp.MustCompile(`^beacon \(tcp\): reached in \d+\.\d ms\ngame \(satisfactory\): reached in \d+\.\d ms, it is "Satisfactory Server"$`)
	if !told.MatchString(strings.Join(progress, "\n")) {
		t.Errorf("progress: %q", progress)
	}
	beacon.Stop()
	progress, diags = r.invoke("rathole_instance_probe", "srv")
	mustSay(t, diags, fmt.Sprintf("E Unable to reach game: Players do not reach instance srv: beacon (tcp): public port %d/tcp accepts players and hangs up", b.Ports[1]))
	if len(progress) != 2 || !strings.Contains(progress[1], "game (satisfactory): reached") {
		t.Errorf("progress: %q", progress)
	}
	b.mustCreate(t, "voice", api.InstanceSpec{Services: map[string]api.ServiceSpec{"talk": {Protocols: []api.Protocol{api.UDP}, LocalPort: 9987}}})
	_, diags = r.invoke("rathole_instance_probe", "voice")
	mustSay(t, diags, "E Unable to reach game: Whether players reach instance voice is not known: talk (none): not asked: an open UDP port says nothing of the game")
	b.mustDelete(t, "voice")
	_, diags = r.invoke("rathole_instance_probe", "none")
	mustSay(t, diags, "E Unable to reach game: Manager "+b.ManagerURL+": instance_not_found")
	b.destroy(t, "srv")
}

func storyQuery(t *testing.T, b backend) {
	b.mustCreate(t, "eu-1", api.InstanceSpec{GamePort: b.Ports[0], Labels: map[string]string{"tier": "gold"}})
	b.mustCreate(t, "eu-2", api.InstanceSpec{GamePort: b.Ports[1], Enabled: new(bool)})
	b.mustCreate(t, "us-1", api.InstanceSpec{Services: map[string]api.ServiceSpec{"game": {Protocols: []api.Protocol{api.UDP}, LocalPort: b.Ports[2]}}})
	r := b.rpc(t)
	gold := tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{"tier": text("gold")})
	for name, tt := range map[string]struct {
		limit  int64
		config values
		want   string
	}{
		"all":    {0, nil, "eu-1 eu-2 us-1"},
		"prefix": {0, values{"prefix": text("eu-")}, "eu-1 eu-2"},
		"labels": {0, values{"labels": gold}, "eu-1"},
		"limit":  {2, nil, "eu-1 eu-2"},
		"status": {0, values{"status": text("inactive")}, "eu-1 us-1"},
		"none":   {0, values{"status": text("healthy")}, ""},
	} {
		names, resources, diags := r.query(tt.limit, tt.config)
		mustBeSilent(t, diags)
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		for i, v := range resources {
			var id string
			if err := r.fields(v)["server_id"].As(&id); err != nil || id != names[i] || r.fields(v)["rathole_port"].IsNull() {
				t.Errorf("%s: resource %v, %v", names[i], v, err)
			}
		}
	}
	for _, id := range []string{"eu-1", "eu-2", "us-1"} {
		b.mustDelete(t, id)
	}
}

// TestRotateWithADeadAgent asks for nothing to be changed when the client could not follow.
func TestRotateWithADeadAgent(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	b := f.backend()
	r := b.rpc(t)
	_, diags := r.apply(t.Context(), nil, b.resource(nil))
	mustBeSilent(t, diags)
	f.agent.fail("*", fault{status: 422, code: api.CodeInvalidConfig})
	_, diags = r.invoke("rathole_instance_rotate_secret", "srv")
	if got := summaries(diags); len(got) != 1 || !strings.Contains(got[0], "nothing was changed") {
		t.Errorf("%q", got)
	}
	if slices.ContainsFunc(f.manager.calls, func(c string) bool { return strings.HasSuffix(c, "/rotate") }) {
		t.Errorf("calls: %q", f.manager.calls)
	}
	f.agent.mend()
	f.agent.fail("POST /api/rathole/clients/{id}/configure", fault{status: 422, code: api.CodeInvalidConfig})
	_, diags = r.invoke("rathole_instance_rotate_secret", "srv")
	if got := summaries(diags); len(got) != 1 || !strings.Contains(got[0], "until the client has them too, the tunnel is down") {
		t.Errorf("%q", got)
	}
}

// TestRotateLosesItsAnswer: the client is given what the server half has, and whether that is new is told.
func TestRotateLosesItsAnswer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault fault
		fails string
	}{
		"done":     {fault: fault{lost: true}},
		"not done": {fault: fault{cut: true}, fails: "The secrets are the old ones, on both halves"},
		"refused":  {fault: fault{status: 412, code: api.CodeRevisionMismatch}, fails: "revision_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			b := f.backend()
			r := b.rpc(t)
			_, diags := r.apply(t.Context(), nil, b.resource(nil))
			mustBeSilent(t, diags)
			before := f.instances["srv"].ClientConfigSHA256
			f.manager.fail(rotateRoute, tt.fault)
			progress, diags := r.invoke("rathole_instance_rotate_secret", "srv")
			if got := summaries(diags); (len(got) > 0) != (tt.fails != "") || !strings.Contains(strings.Join(got, ""), tt.fails) {
				t.Errorf("%q after %q", got, progress)
			}
			inst := f.instances["srv"]
			if (inst.ClientConfigSHA256 != before) != tt.fault.lost || f.agent.clients["srv"].ConfigSHA256 != inst.ClientConfigSHA256 {
				t.Errorf("rotated: %t, the client has %s, want %s", inst.ClientConfigSHA256 != before, f.agent.clients["srv"].ConfigSHA256, inst.ClientConfigSHA256)
			}
		})
	}
}

// destroy removes both halves of an instance.
func (b backend) destroy(t *testing.T, id string) {
	t.Helper()
	b.mustStop(t, id)
	if err := b.manager(t).Delete(context.WithoutCancel(t.Context()), id); err != nil && !client.IsNotFound(err) {
		t.Fatal(fmt.Errorf("remove %s: %w", id, err))
	}
}
