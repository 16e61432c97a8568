#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

static int poller = -1;
static struct watched *graves;

int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

double jitter(double ms, double part) { return ms * (1 - part + 2 * part * rand() / RAND_MAX); }

struct watched *watch(int fd, uint32_t events, void (*ready)(struct watched *, uint32_t)) {
  if (poller < 0) poller = epoll_create1(EPOLL_CLOEXEC);
  struct watched *w = calloc(1, sizeof *w);
  w->fd = fd;
  w->ready = ready;
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = events, .data.ptr = w});
  return w;
}

void watch_for(struct watched *w, uint32_t events, void (*ready)(struct watched *, uint32_t)) {
  w->ready = ready;
  epoll_ctl(poller, EPOLL_CTL_MOD, w->fd, &(struct epoll_event){.events = events, .data.ptr = w});
}

// The events of this round may still name it.
void forget(struct watched *w) {
  if (!w || w->dead) return;
  close(w->fd);
  w->dead = true;
  w->next = graves;
  graves = w;
}

bool gather(struct watched *w, size_t size, bool *whole) {
  ssize_t n = read(w->fd, w->buffer + w->have, size - w->have);
  if (n == 0) errno = 0;
  if (n > 0) w->have += (size_t)n;
  *whole = w->have == size;
  if (*whole) w->have = 0;
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static int64_t earlier(int64_t a, int64_t b) { return a && (!b || a < b) ? a : b; }

void loop(const struct half *h) {
  struct epoll_event events[32];
  for (;;) {
    int64_t next = 0, now = now_ms();
    for (struct service *s = config.services; s; s = s->next) next = earlier(s->at, earlier(s->open_at, next));
    int n = epoll_wait(poller, events, 32, next == 0 ? -1 : next <= now ? 0 : (int)(next - now));
    for (int i = 0; i < n; i++) {
      struct watched *w = events[i].data.ptr;
      if (!w->dead) w->ready(w, events[i].events);
    }
    now = now_ms();
    for (struct service *s = config.services; s; s = s->next)
      if ((s->at && s->at <= now) || (s->open_at && s->open_at <= now)) h->tick(s, now);
    while (graves) {
      struct watched *w = graves;
      graves = w->next;
      free(w);
    }
  }
}
