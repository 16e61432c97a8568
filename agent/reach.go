package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/satishost/terraform-provider-rathole/internal/api"
)

const (
	// reachPeriod is how often a manager is asked whether it answers.
	reachPeriod = 15 * time.Second
	// reachTimeout is how long it may take.
	reachTimeout = 5 * time.Second
)

// reach asks the managers now and then whether they answer, and remembers. It needs no token and sends none.
type reach struct {
	managers []string
	port     int
	log      *slog.Logger
	client   *http.Client

	mu   sync.Mutex
	last map[string]contact
}

// contact is what is known of one manager.
type contact struct {
	plain bool // it speaks HTTP, not HTTPS
	up    bool
	took  time.Duration // of the last answer
	at    time.Time     // of the last answer, zero if there was none
}

func newReach(cfg Config) *reach {
	return &reach{
		managers: cfg.Managers, port: cfg.ManagerPort, log: cfg.Log, last: map[string]contact{},
		client: &http.Client{Timeout: reachTimeout, Transport: &http.Transport{
			DisableKeepAlives: true, // each question is a round trip of its own, and leaves nothing open
			// What is asked is whether it answers, not who it is: nothing secret is sent, and nothing that it says is believed.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as above
		}},
	}
}

// run asks until ctx ends. Without a port it asks nobody.
func (r *reach) run(ctx context.Context) {
	if r.port == 0 {
		return
	}
	tick := time.NewTicker(reachPeriod)
	defer tick.Stop()
	for {
		var wg sync.WaitGroup
		for _, host := range r.managers {
			wg.Go(func() { r.ask(ctx, host) })
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask asks one manager. Whether it speaks HTTPS nobody has told: what did last is tried first.
func (r *reach) ask(ctx context.Context, host string) {
	r.mu.Lock()
	before := r.last[host]
	r.mu.Unlock()
	now := before
	var err error
	for range 2 {
		begin := time.Now()
		if err = r.health(ctx, host, now.plain); err == nil {
			now.up, now.took, now.at = true, time.Since(begin), time.Now()
			break
		}
		now.plain = !now.plain
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		now = contact{plain: before.plain, took: before.took, at: before.at}
	}
	r.mu.Lock()
	_, known := r.last[host]
	r.last[host] = now
	r.mu.Unlock()
	switch {
	case err != nil && (before.up || !known):
		r.log.Warn("the manager does not answer this agent; tunnels do not need that", "manager", host, "port", r.port, "error", err)
	case err == nil && known && !before.up:
		r.log.Info("the manager answers this agent again", "manager", host, "port", r.port)
	}
}

func (r *reach) health(ctx context.Context, host string, plain bool) error {
	scheme := "https"
	if plain {
		scheme = "http"
	}
	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(r.port)) + api.PathHealth
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

// contacts are the managers that were asked, by host.
func (r *reach) contacts() map[string]contact {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.last)
}
