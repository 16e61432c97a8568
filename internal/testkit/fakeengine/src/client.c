#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"

#define TARGET "rathole::client"

static const char *run(const struct service *s) {
  static char text[TEXT];
  snprintf(text, sizeof text, "handle{service=%s}:run", s->name);
  return text;
}

// broken ends an attempt or a session, says why, and plans the next one.
__attribute__((format(printf, 2, 3))) static void broken(struct service *s, const char *format, ...) {
  char spans[TEXT], why[2 * TEXT];
  va_list args;
  va_start(args, format);
  vsnprintf(why, sizeof why, format, args);
  va_end(args);
  forget(s->control);
  s->control = NULL;
  int64_t now = now_ms();
  if (now - s->since > 3000) s->pause = 500;
  double pause = jitter(s->pause, 0.2);
  s->pause = s->pause * 3 > 1000.0 * s->retry ? 1000.0 * s->retry : s->pause * 3;
  s->at = now + (int64_t)pause;
  snprintf(spans, sizeof spans, "handle{service=%s}", s->name);
  fail(spans, TARGET, "Failed to run the control channel: %s. Retry in %.3fms...", why, pause);
}

static int connected(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

// A UDP data channel is kept: its end is what tells the server that this client is gone.
static void carried(struct watched *w, uint32_t events) {
  (void)events;
  char buffer[512];
  ssize_t n = read(w->fd, buffer, sizeof buffer);
  if (n == 0 || (n < 0 && errno != EAGAIN)) forget(w);
}

static void local_stands(struct watched *w, uint32_t events) {
  (void)events;
  int error = connected(w->fd);
  if (error) warn(run(w->service), TARGET, "Failed to run the data channel: Failed to connect to %s: %s", w->service->address, cause(error));
  forget(w);
}

// forward answers a data channel's order. It connects as the real one, and carries nothing.
static void forward(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  bool whole;
  if (!gather(w, 4, &whole)) {
    warn(run(s), TARGET, "Failed to run the data channel: Failed to read cmd: %s", cause(errno));
    forget(w);
    return;
  }
  if (!whole) return;
  if ((w->buffer[0] == FORWARD_UDP) != s->udp) {
    warn(run(s), TARGET, "Failed to run the data channel: Expect %s traffic. Please check the configuration.", s->udp ? "TCP" : "UDP");
    forget(w);
    return;
  }
  if (s->udp) return watch_for(w, EPOLLIN, carried);
  forget(w);
  int fd = dial(s->address);
  if (fd < 0) return warn(run(s), TARGET, "Failed to run the data channel: Failed to connect to %s: %s", s->address, cause(errno));
  watch(fd, EPOLLOUT, local_stands)->service = s;
}

static void data_stands(struct watched *w, uint32_t events) {
  (void)events;
  int error = connected(w->fd);
  if (error) {
    warn(run(w->service), TARGET, "Failed to run the data channel: Failed to connect to %s: %s", config.address, cause(error));
    forget(w);
    return;
  }
  send_hello(w->fd, HELLO_DATA, w->buffer); // the session's key
  watch_for(w, EPOLLIN, forward);
}

static void open_data(struct service *s) {
  int fd = dial(config.address);
  if (fd < 0) return;
  struct watched *w = watch(fd, EPOLLOUT, data_stands);
  w->service = s;
  memcpy(w->buffer, s->key, DIGEST);
}

static void obey(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  bool whole;
  if (!gather(w, 4, &whole)) return broken(s, "Failed to read cmd: %s", cause(errno));
  if (!whole) return;
  s->at = now_ms() + 1000 * config.heartbeat;
  if (w->buffer[0] == CREATE_DATA_CHANNEL) open_data(s);
}

static void verdict(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  bool whole;
  if (!gather(w, 4, &whole)) return broken(s, "Failed to read ack: %s", cause(errno));
  if (!whole) return;
  if (w->buffer[0] != ACK_OK)
    return broken(s, "Authentication failed: %s: %s", s->name, w->buffer[0] == ACK_NO_SERVICE ? "Service not exist" : "Incorrect token");
  info(run(s), TARGET, "Control channel established");
  w->ready = obey;
}

static void challenge(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  bool whole;
  if (!gather(w, HELLO, &whole)) return broken(s, "Failed to read hello: %s", cause(errno));
  if (!whole) return;
  prove(s->token, w->buffer + 5, s->key);
  if (send(w->fd, s->key, DIGEST, MSG_NOSIGNAL) != DIGEST) return broken(s, "%s", cause(errno));
  w->ready = verdict;
}

static void stands(struct watched *w, uint32_t events) {
  (void)events;
  struct service *s = w->service;
  int error = connected(w->fd);
  if (error) return broken(s, "Failed to connect to %s: %s", config.address, cause(error));
  send_hello(w->fd, HELLO_CONTROL, s->digest);
  watch_for(w, EPOLLIN, challenge);
}

static void attempt(struct service *s) {
  s->since = now_ms();
  int fd = dial(config.address);
  if (fd < 0) return broken(s, "Failed to connect to %s: %s", config.address, cause(errno));
  s->at = s->since + 1000 * config.heartbeat;
  s->control = watch(fd, EPOLLOUT, stands);
  s->control->service = s;
}

static void add(struct service *s) {
  char spans[TEXT];
  snprintf(spans, sizeof spans, "handle{service=%s}", s->name);
  info(spans, TARGET, "Starting %s", hex(s->digest));
  s->pause = 500;
  attempt(s);
}

static void remove_service(struct service *s) {
  if (s->control) info(run(s), TARGET, "Control channel shutdown");
  forget(s->control);
  s->control = NULL;
  s->at = 0;
}

static void tick(struct service *s, int64_t now) {
  (void)now;
  if (s->control) return broken(s, "Heartbeat timed out");
  attempt(s);
}

static void start(void) {
  if (!config.heartbeat) config.heartbeat = 40;
  for (struct service *s = config.services; s; s = s->next) add(s);
}

static void stop(void) {
  for (struct service *s = config.services; s; s = s->next) remove_service(s);
}

const struct half client_half = {
  .section = "client", .change = "ClientChange", .start = start, .stop = stop, .add = add, .remove = remove_service, .tick = tick,
};
