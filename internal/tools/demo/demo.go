// Package demo shows the whole product on one machine: a manager, an agent, a game, and Terraform, which makes a tunnel
// between them and takes it away again. Everything is real but the game.
package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
	"github.com/satishost/terraform-provider-rathole/internal/testkit/game"
)

// Where the two sides of the demonstration are: both on this machine, on addresses that nothing outside reaches.
const (
	publicHost = "127.0.0.1"
	gameHost   = "127.0.0.2"
	gameName   = "a game server behind a home router"
)

// Options are what Run works with. All but Temp are required.
type Options struct {
	Root      string // of the repository
	Rathole   string // path of the engine
	Terraform string // path of the command line
	Temp      string // where its directory is made; empty: the system's place
	Out       io.Writer
	In        io.Reader // where Enter is waited for
	Wait      bool      // wait for Enter before the destroy
}

// Run is the demonstration. It returns nil only if every claim that it prints was seen to be true. When ctx ends it stops
// where it is; whatever happens, it leaves nothing.
func Run(ctx context.Context, o Options) (err error) {
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer func() {
		left := w.close()
		if errors.Is(err, context.Canceled) && left == nil {
			err = fmt.Errorf("interrupted; everything that was made is gone again (%w)", context.Canceled)
		}
		err = errors.Join(err, left)
	}()

	if err := w.build(ctx); err != nil {
		return err
	}
	if err := w.startServices(ctx); err != nil {
		return err
	}
	port, err := freePorts(netip.MustParseAddr(publicHost), netip.MustParseAddr(gameHost))
	if err != nil {
		return err
	}
	server, err := game.Start(gameName, netip.MustParseAddr(gameHost), port, port+1)
	if err != nil {
		return fmt.Errorf("start the game: %w", err)
	}
	defer server.Stop()
	w.say("The game listens on %s:%d and %d, TCP and UDP.", gameHost, port, port+1)

	if err := w.apply(ctx, port); err != nil {
		return err
	}
	if err := w.play(ctx, port); err != nil {
		return err
	}
	if err := w.report(ctx); err != nil {
		return err
	}
	if err := w.wait(ctx); err != nil {
		return err
	}
	if err := w.destroy(ctx); err != nil {
		return err
	}
	return w.proveEmpty(ctx, port)
}

// step runs one step and notes how long it took.
func (w *world) step(name string, f func() error) error {
	begin := time.Now()
	err := f()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.steps = append(w.steps, step{name, time.Since(begin)})
	return nil
}

func (w *world) build(ctx context.Context) error {
	w.say("Building the provider, the manager and the agent.")
	return w.step("build", func() error {
		return w.run(ctx, w.Root, nil, "go", "build", "-o", w.bin()+string(filepath.Separator), ".", "./manager/rathole-manager", "./agent/rathole-agent")
	})
}

func (w *world) startServices(ctx context.Context) error {
	return w.step("start manager and agent", func() error {
		managerPort, err := freeTCP()
		if err != nil {
			return err
		}
		agentPort, err := freeTCP()
		if err != nil {
			return err
		}
		w.managerURL, w.agentURL = "http://127.0.0.1:"+strconv.Itoa(managerPort), "http://127.0.0.1:"+strconv.Itoa(agentPort)
		err = w.serve(ctx, "rathole-manager", w.managerURL, "RATHOLE_LISTEN=127.0.0.1:"+strconv.Itoa(managerPort),
			"RATHOLE_BIND_ADDRESS="+publicHost, "RATHOLE_BINARY="+w.Rathole)
		if err != nil {
			return err
		}
		w.say("rathole-manager answers on %s (on a VPS: port 7001).", w.managerURL)
		err = w.serve(ctx, "rathole-agent", w.agentURL, "RATHOLE_LISTEN=127.0.0.1:"+strconv.Itoa(agentPort),
			"RATHOLE_INSTANCE_MANAGER_HOST="+publicHost, "RATHOLE_CLIENT_BINARY="+w.Rathole)
		if err != nil {
			return err
		}
		w.say("rathole-agent answers on %s (on a game host: port 8081).", w.agentURL)
		return nil
	})
}

// play sends what players would, over both protocols of both ports.
func (w *world) play(ctx context.Context, port int) error {
	for _, p := range []int{port, port + 1} {
		for _, proto := range []api.Protocol{api.TCP, api.UDP} {
			address := fmt.Sprintf("%s:%d", publicHost, p)
			name := fmt.Sprintf("a player's first answer, %s %d", proto, p)
			err := w.step(name, func() error {
				got, err := game.Ask(ctx, proto, address, "status")
				if err == nil && got != gameName {
					err = fmt.Errorf("%s answers %q, not the game", address, got)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// wait gives a person time to look around.
func (w *world) wait(ctx context.Context) error {
	if !w.Wait {
		return nil
	}
	w.say("\nPress Enter to destroy it all.")
	entered := make(chan error, 1)
	go func() { // ends with the program at the latest: a read of a terminal cannot be cancelled
		_, err := bufio.NewReader(w.In).ReadString('\n')
		entered <- err
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-entered:
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	}
}

// IsRoot tells whether dir is the root of this repository.
func IsRoot(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "examples", "quickstart", "main.tf"))
	return err == nil
}
