#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

// The TOML that the manager and the agent write: tables, and keys with strings, numbers and booleans, one a line. What
// else there is in TOML is refused, as what else there is in a config.

// value reads a basic string without its quotes, or any other value as it is. false: it is neither.
static bool value(const char *from, char *into, size_t size) {
  size_t n = 0;
  bool quoted = *from == '"';
  for (from += quoted; *from && *from != (quoted ? '"' : ' '); from++) {
    if (quoted && *from == '\\' && *++from != '"' && *from != '\\') return false;
    if (n + 1 < size) into[n++] = *from;
  }
  into[n] = 0;
  return n > 0 && (!quoted || *from == '"');
}

static bool is(const char *key, const char *const *known) {
  for (; *known; known++)
    if (!strcmp(key, *known)) return true;
  return false;
}

static const char *const server_keys[] = {"bind_addr", "default_token", "heartbeat_interval", NULL};
static const char *const client_keys[] = {"remote_addr", "default_token", "heartbeat_timeout", "retry_interval", NULL};
static const char *const transport_keys[] = {"type", "nodelay", "keepalive_secs", "keepalive_interval", NULL};
static const char *const server_service_keys[] = {"type", "token", "bind_addr", "nodelay", NULL};
static const char *const client_service_keys[] = {"type", "token", "local_addr", "nodelay", "retry_interval", NULL};

static const char *set_service(struct service *s, const char *key, const char *v) {
  if (!strcmp(key, "type")) {
    s->udp = !strcmp(v, "udp");
    return s->udp || !strcmp(v, "tcp") ? NULL : "unknown type of a service";
  }
  if (!strcmp(key, "token")) snprintf(s->token, sizeof s->token, "%s", v);
  if (strstr(key, "_addr")) snprintf(s->address, sizeof s->address, "%s", v);
  if (!strcmp(key, "retry_interval")) s->retry = atol(v);
  return NULL;
}

static const char *set(struct config *c, const char *table, const char *key, const char *v) {
  size_t used = strlen(c->rest);
  snprintf(c->rest + used, sizeof c->rest - used, "%s.%s=%s\n", table, key, v);
  if (strstr(table, ".transport")) return !is(key, transport_keys) ? "unknown field" : !strcmp(key, "type") && strcmp(v, "tcp") ? "feature not compiled" : NULL;
  if (!strcmp(key, "default_token")) snprintf(c->token, sizeof c->token, "%s", v);
  if (strstr(key, "_addr")) snprintf(c->address, sizeof c->address, "%s", v);
  if (strstr(key, "heartbeat_")) c->heartbeat = atol(v);
  if (!strcmp(key, "retry_interval")) c->retry = atol(v);
  return NULL;
}

static struct service *new_service(struct config *c, const char *name) {
  struct service *s = calloc(1, sizeof *s);
  snprintf(s->name, sizeof s->name, "%s", name);
  sha256(name, strlen(name), s->digest);
  s->next = c->services;
  c->services = s;
  return s;
}

// line reads one line. table is the one it stands in, and s its service, if it is one's.
static const char *line(struct config *c, const struct half *h, char *text, char *table, struct service **s, bool *has_services) {
  bool server = h == &server_half;
  size_t n = strlen(h->section);
  if (*text == '[') {
    char *end = strchr(text, ']');
    if (!end || end[1] || strncmp(text + 1, h->section, n) || (text[1 + n] != '.' && text[1 + n] != ']')) return "unknown field of the root";
    *end = 0;
    snprintf(table, TEXT, "%.200s", text + 1);
    char *below = table + n;
    bool service = !strncmp(below, ".services.", 10);
    *has_services |= service || !strcmp(below, ".services");
    *s = service ? new_service(c, below + 10) : NULL;
    return *below && !service && strcmp(below, ".services") && strcmp(below, ".transport") && strcmp(below, ".transport.tcp") ? "unknown table" : NULL;
  }
  char *equals = strchr(text, '='), v[TEXT];
  if (!equals || !*table) return "expected an equals";
  char *end = equals;
  while (end > text && isspace((unsigned char)end[-1])) end--;
  *end = 0;
  for (equals++; isspace((unsigned char)*equals);) equals++;
  if (!value(equals, v, sizeof v)) return "expected a value";
  if (*s) return is(text, server ? server_service_keys : client_service_keys) ? set_service(*s, text, v) : "unknown field of a service";
  if (!strcmp(table, h->section) && !is(text, server ? server_keys : client_keys)) return "unknown field";
  return set(c, table, text, v);
}

const char *config_read(const char *path, const struct half *h, struct config *c) {
  char text[2048], table[TEXT] = "";
  struct service *s = NULL;
  bool has_services = false;
  const char *wrong = NULL;
  memset(c, 0, sizeof *c);
  FILE *f = fopen(path, "re");
  if (!f) return cause(errno);
  while (!wrong && fgets(text, sizeof text, f)) {
    size_t n = strlen(text);
    while (n && isspace((unsigned char)text[n - 1])) text[--n] = 0;
    if (n && *text != '#') wrong = line(c, h, text, table, &s, &has_services);
  }
  fclose(f);
  if (!wrong && (!*c->address || !has_services)) wrong = "missing field";
  for (s = c->services; s; s = s->next) {
    if (!*s->token) snprintf(s->token, sizeof s->token, "%s", c->token);
    if (!s->retry) s->retry = c->retry ? c->retry : 1;
    if (!wrong && (!*s->address || !*s->token)) wrong = "missing field of a service";
  }
  if (wrong) config_free(c);
  return wrong;
}

bool config_same(const struct service *a, const struct service *b) {
  return a->udp == b->udp && a->retry == b->retry && !strcmp(a->token, b->token) && !strcmp(a->address, b->address);
}

void config_free(struct config *c) {
  for (struct service *s = c->services, *next; s; s = next) {
    next = s->next;
    free(s);
  }
  c->services = NULL;
}
