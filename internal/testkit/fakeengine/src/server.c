#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"

#define TARGET "rathole::server"

// How many idle data channels a session asks for.
enum { POOL_TCP = 8, POOL_UDP = 2 };

static struct watched *listener;

static struct service *by_digest(const uint8_t *digest) {
  struct service *s = config.services;
  while (s && memcmp(s->digest, digest, DIGEST)) s = s->next;
  return s;
}

static const char *spans_of(const struct service *s, const char *more) {
  static char text[2 * TEXT];
  snprintf(text, sizeof text, "%s:%s", s->spans, more);
  return text;
}

static void close_channel(struct service *s) {
  if (!s->control) return;
  info(spans_of(s, "run"), TARGET, "Control channel shutdown");
  forget(s->control);
  s->control = NULL;
  s->at = 0;
}

static void close_port(struct service *s) {
  if (s->port && !s->udp) {
    info(spans_of(s, "run_tcp_connection_pool"), TARGET, "TCPListener shutdown");
    info(spans_of(s, "run_tcp_connection_pool"), TARGET, "Shutdown");
  }
  forget(s->port);
  forget(s->carrier);
  while (s->idles) forget(s->idle[--s->idles]);
  s->port = s->carrier = NULL;
  s->visitors = 0;
  s->open_at = 0;
}

// drop ends a service's session and tells whether there was one; a port that outlived its channel counts.
static bool drop(struct service *s) {
  bool had = s->control || s->port || s->open_at;
  close_channel(s);
  close_port(s);
  return had;
}

static void order(struct service *s, uint32_t command) {
  if (!s->control) return;
  s->at = now_ms() + 1000 * config.heartbeat;
  if (send_number(s->control->fd, command)) return;
  fail(spans_of(s, "run"), TARGET, "Failed to write control cmds: %s", cause(errno));
  close_channel(s); // and not the port: a TCP port stays until a visitor comes
}

// A UDP service lives as long as its data channel, whose end is what tells of a client that is gone.
static void carrier_ready(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  char buffer[512];
  ssize_t n = read(w->fd, buffer, sizeof buffer);
  if (n > 0 || (n < 0 && errno == EAGAIN)) return;
  fail(s->spans, TARGET, "Failed to run TCP connection pool: %s", n == 0 ? "unexpected end of file" : cause(errno));
  close_port(s);
  close_channel(s);
}

// carry puts idle data channels to use. A visitor has gone again already, for nothing is forwarded; its client is told
// all the same.
static void carry(struct service *s) {
  while (s->visitors && s->idles) {
    struct watched *data = s->idle[--s->idles];
    s->visitors--;
    send_number(data->fd, FORWARD_TCP);
    forget(data);
  }
  if (!s->udp || s->carrier || !s->port || !s->idles) return;
  s->carrier = s->idle[0];
  s->idle[0] = s->idle[--s->idles];
  send_number(s->carrier->fd, FORWARD_UDP);
  s->carrier->service = s;
  watch_for(s->carrier, EPOLLIN, carrier_ready);
}

static void visit(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  if (s->udp) {
    char buffer[2048];
    while (recv(w->fd, buffer, sizeof buffer, 0) >= 0) {}
    return;
  }
  int visitor = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
  if (visitor < 0) return;
  close(visitor);
  if (!s->control) {
    close_port(s);
    return;
  }
  order(s, CREATE_DATA_CHANNEL);
  s->visitors++;
  carry(s);
}

static void open_public(struct service *s) {
  const char *pool = s->udp ? "run_udp_connection_pool" : "run_tcp_connection_pool";
  int fd = open_port(s->address, s->udp);
  if (fd < 0) {
    double pause = jitter(s->pause, 0.5);
    (s->udp ? warn : fail)(spans_of(s, pool), TARGET, "%s. Retry in %.1fms", cause(errno), pause);
    s->pause = s->pause * 1.5 > 1000 ? 1000 : s->pause * 1.5;
    s->open_at = now_ms() + (int64_t)pause;
    return;
  }
  s->open_at = 0;
  info(spans_of(s, pool), TARGET, "Listening at %s", s->address);
  s->port = watch(fd, EPOLLIN, visit);
  s->port->service = s;
  carry(s);
}

static void ignore(struct watched *w, uint32_t events) { (void)w, (void)events; }

static void establish(struct watched *w, struct service *s) {
  if (drop(s)) warn(w->spans, TARGET, "Dropping previous control channel for service %s", s->name);
  send_number(w->fd, ACK_OK);
  info(w->spans, TARGET, "Control channel established service=%s", s->name);
  snprintf(s->spans, sizeof s->spans, "%.200s:handle{service=%s}", w->spans, s->name);
  // From here on nothing is read: that a client is gone is noticed only when a write fails.
  watch_for(w, EPOLLET, ignore);
  s->control = w;
  s->pause = 500;
  for (int i = 0; i < (s->udp ? POOL_UDP : POOL_TCP); i++) order(s, CREATE_DATA_CHANNEL);
  open_public(s);
}

static void authenticate(struct watched *w, uint32_t events) {
  (void)events;
  bool whole;
  if (!gather(w, DIGEST, &whole)) {
    fail(w->spans, TARGET, "Failed to read auth: %s", cause(errno));
    forget(w);
    return;
  }
  if (!whole) return;
  struct service *s = w->service;
  for (struct service *now = config.services; now != s; now = now->next) // it may have been removed meanwhile
    if (!now) return forget(w);
  if (memcmp(w->buffer, w->expected, DIGEST)) {
    send_number(w->fd, ACK_REFUSED);
    fail(w->spans, TARGET, "Service %s failed the authentication", s->name);
    forget(w);
    return;
  }
  memcpy(s->key, w->buffer, DIGEST);
  establish(w, s);
}

static void take_data(struct watched *w, const uint8_t *key) {
  for (struct service *s = config.services; s; s = s->next) {
    if (memcmp(s->key, key, DIGEST) || !s->control || s->idles == POOL) continue;
    watch_for(w, EPOLLET, ignore);
    s->idle[s->idles++] = w;
    carry(s);
    return;
  }
  warn(w->spans, TARGET, "Data channel has incorrect nonce");
  forget(w);
}

static void greet(struct watched *w, uint32_t events) {
  (void)events;
  bool whole;
  if (!gather(w, HELLO, &whole)) {
    fail(w->spans, TARGET, "Failed to read hello: %s", cause(errno));
    forget(w);
    return;
  }
  if (!whole) return;
  const uint8_t *digest = w->buffer + 5;
  if (w->buffer[0] > HELLO_DATA || w->buffer[1] || w->buffer[2] || w->buffer[3] || w->buffer[4] != 1) {
    fail(w->spans, TARGET, "Failed to deserialize hello: invalid value");
    forget(w);
    return;
  }
  if (w->buffer[0] == HELLO_DATA) return take_data(w, digest);
  info(w->spans, TARGET, "Try to handshake a control channel");
  uint8_t nonce[DIGEST];
  if (getrandom(nonce, sizeof nonce, 0) != sizeof nonce) abort();
  send_hello(w->fd, HELLO_CONTROL, nonce);
  struct service *s = by_digest(digest);
  if (!s) {
    send_number(w->fd, ACK_NO_SERVICE);
    fail(w->spans, TARGET, "No such a service %s", hex(digest));
    forget(w);
    return;
  }
  w->service = s;
  w->ready = authenticate;
  prove(s->token, nonce, w->expected);
}

static void welcome(struct watched *w, uint32_t events) {
  (void)events;
  struct sockaddr_in6 peer;
  socklen_t size = sizeof peer;
  char host[INET6_ADDRSTRLEN];
  for (int fd; (fd = accept4(w->fd, (void *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; size = sizeof peer) {
    struct watched *conn = watch(fd, EPOLLIN, greet);
    const struct sockaddr_in *four = (void *)&peer;
    bool six = peer.sin6_family == AF_INET6;
    inet_ntop(peer.sin6_family, six ? (void *)&peer.sin6_addr : (void *)&four->sin_addr, host, sizeof host);
    snprintf(conn->spans, TEXT, six ? "connection{addr=[%s]:%d}" : "connection{addr=%s:%d}", host, ntohs(peer.sin6_port));
  }
}

static void start(void) {
  if (!config.heartbeat) config.heartbeat = 30;
  int fd = open_port(config.address, false);
  if (fd < 0) {
    dprintf(STDERR_FILENO, "\nthread 'tokio-rt-worker' (%d) panicked at src/lib.rs:138:9:\n"
            "called `Result::unwrap()` on an `Err` value: Failed to listen at `server.bind_addr`\n\nCaused by:\n    %s\n", getpid(), cause(errno));
    abort();
  }
  info("", TARGET, "Listening at %s", config.address);
  listener = watch(fd, EPOLLIN, welcome);
}

static void stop(void) {
  info("", TARGET, "Shuting down gracefully...");
  forget(listener);
  info("", TARGET, "Shutdown");
  for (struct service *s = config.services; s; s = s->next) drop(s);
}

static void add(struct service *s) { (void)s; } // the next client finds it

static void remove_service(struct service *s) { drop(s); }

static void tick(struct service *s, int64_t now) {
  if (s->at && s->at <= now) order(s, HEARTBEAT);
  if (s->open_at && s->open_at <= now) open_public(s);
}

const struct half server_half = {
  .section = "server", .change = "ServerChange", .start = start, .stop = stop, .add = add, .remove = remove_service, .tick = tick,
};
