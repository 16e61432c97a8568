#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fake.h"

#define WATCHER "rathole::config_watcher"

struct config config;

static const struct half *half;
static const char *path, *file;
static char spans[PATH_MAX + 40];

static struct service *find(struct service *s, const char *name) {
  while (s && strcmp(s->name, name)) s = s->next;
  return s;
}

// change moves to a config that differs in services only. A service that stays keeps its session.
static void change(struct config *to) {
  struct service **at = &config.services;
  while (*at) {
    struct service *s = *at, *new = find(to->services, s->name);
    if (new && config_same(s, new)) {
      at = &s->next;
      continue;
    }
    if (!new) info("", "rathole", "Service change detected. %s(Delete(\"%s\"))", half->change, s->name);
    half->remove(s);
    *at = s->next; // not freed: data channels of the client may still name it
  }
  for (struct service *s = to->services, *next; s; s = next) {
    next = s->next;
    if (find(config.services, s->name)) {
      free(s);
      continue;
    }
    s->next = config.services;
    config.services = s;
    info("", "rathole", "Service change detected. %s(Add(ServiceConfig { service_type: %s, name: \"%s\", token: Some(MASKED) }))",
         half->change, s->udp ? "Udp" : "Tcp", s->name);
    half->add(s);
  }
}

static void rescan(void) {
  struct config to;
  info(spans, WATCHER, "Rescan the configuration");
  const char *wrong = config_read(path, half, &to);
  if (wrong) {
    fail(spans, WATCHER, "The changed configuration is invalid. Ignored: Configuration is invalid. "
         "Please refer to the configuration specification.: Failed to parse the config: %s", wrong);
    return;
  }
  if (!strcmp(config.rest, to.rest)) return change(&to);
  info("", "rathole", "General configuration change detected. Restarting...");
  half->stop();
  config = to; // as in change, the old services are not freed
  half->start();
}

// The real one counts each of these as a modification, and reads a config that is renamed into place as well as one that
// is written in place.
enum { MODIFIED = IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO };

static void noticed(struct watched *w, uint32_t events) {
  (void)events;
  char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t n = read(w->fd, buffer, sizeof buffer);
  bool ours = false;
  for (char *p = buffer; p < buffer + n; p += sizeof(struct inotify_event) + ((struct inotify_event *)p)->len) {
    struct inotify_event *e = (void *)p;
    ours |= e->len && !strcmp(e->name, file);
  }
  if (ours) rescan();
}

static int serve(void) {
  const char *wrong = config_read(path, half, &config);
  if (wrong && access(path, R_OK) < 0) {
    dprintf(STDERR_FILENO, "Error: Failed to read the config \"%s\"\n\nCaused by:\n    %s\n", path, wrong);
    return 1;
  }
  if (wrong) {
    dprintf(STDERR_FILENO, "Error: Configuration is invalid. Please refer to the configuration specification.\n\nCaused by:\n"
            "    0: Failed to parse the config\n    1: %s\n", wrong);
    return 1;
  }
  half->start();
  char directory[PATH_MAX], copy[PATH_MAX];
  snprintf(directory, sizeof directory, "%s", path);
  snprintf(copy, sizeof copy, "%s", path);
  file = basename(copy);
  int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd < 0 || inotify_add_watch(fd, dirname(directory), MODIFIED) < 0) return 0; // and no word of why, as the real one
  snprintf(spans, sizeof spans, "config_watcher{path=\"%s\"}", path);
  info(spans, WATCHER, "Start watching the config");
  watch(fd, EPOLLIN, noticed);
  loop(half);
}

static void end(int sig) {
  (void)sig;
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "-V")) return puts("rathole 0.5.0"), 0;
  if (argc == 2 && !strcmp(argv[1], "--version"))
    return puts("rathole \nBuild Version:       0.5.0\ncargo Features:      client,hot_reload,notify,server"), 0;
  bool server = argc == 3 && (!strcmp(argv[1], "-s") || !strcmp(argv[1], "--server"));
  bool client = argc == 3 && (!strcmp(argv[1], "-c") || !strcmp(argv[1], "--client"));
  if (!server && !client) return fputs("usage: rathole -s|-c CONFIG\n", stderr), 2;
  signal(SIGINT, end);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  srand((unsigned)getpid());
  half = server ? &server_half : &client_half;
  path = argv[2];
  return serve();
}
