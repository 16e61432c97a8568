#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"

bool resolve(const char *text, struct address *into) {
  char host[TEXT];
  const char *colon = strrchr(text, ':');
  if (!colon || (size_t)(colon - text) >= sizeof host) return false;
  uint16_t port = htons((uint16_t)atoi(colon + 1));
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = 0;
  if (!strcmp(host, "localhost")) strcpy(host, "127.0.0.1");
  memset(into, 0, sizeof *into);
  if (*host == '[') {
    struct sockaddr_in6 *six = (void *)into->bytes;
    host[strlen(host) - 1] = 0;
    six->sin6_family = AF_INET6;
    six->sin6_port = port;
    into->length = sizeof *six;
    return inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1;
  }
  struct sockaddr_in *four = (void *)into->bytes;
  four->sin_family = AF_INET;
  four->sin_port = port;
  into->length = sizeof *four;
  return inet_pton(AF_INET, host, &four->sin_addr) == 1;
}

static int open_socket(const struct address *a, bool udp) {
  int family = ((const struct sockaddr *)a->bytes)->sa_family;
  return socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

// SO_REUSEADDR for TCP and not for UDP, as tokio.
int open_port(const char *text, bool udp) {
  struct address a;
  if (!resolve(text, &a)) return errno = EINVAL, -1;
  int fd = open_socket(&a, udp), on = 1;
  if (fd < 0) return -1;
  if (!udp) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (void *)a.bytes, a.length) == 0 && (udp || listen(fd, 1024) == 0)) return fd;
  int error = errno;
  close(fd);
  return errno = error, -1;
}

int dial(const char *text) {
  struct address a;
  if (!resolve(text, &a)) return errno = -1, -1;
  int fd = open_socket(&a, false);
  if (fd < 0) return -1;
  if (connect(fd, (void *)a.bytes, a.length) == 0 || errno == EINPROGRESS) return fd;
  int error = errno;
  close(fd);
  return errno = error, -1;
}

// The protocol is bincode: an enum's variant is a little-endian u32, a fixed array its bytes.
static void put(uint8_t *into, uint32_t n) {
  for (int i = 0; i < 4; i++) into[i] = (uint8_t)(n >> (8 * i));
}

bool send_number(int fd, uint32_t n) {
  uint8_t b[4];
  put(b, n);
  return send(fd, b, sizeof b, MSG_NOSIGNAL) == sizeof b;
}

bool send_hello(int fd, uint32_t variant, const uint8_t *digest) {
  uint8_t b[HELLO];
  put(b, variant);
  b[4] = 1; // the protocol's version
  memcpy(b + 5, digest, DIGEST);
  return send(fd, b, sizeof b, MSG_NOSIGNAL) == sizeof b;
}

void prove(const char *token, const uint8_t *nonce, uint8_t *into) {
  uint8_t both[TEXT + DIGEST];
  size_t n = strlen(token);
  memcpy(both, token, n);
  memcpy(both + n, nonce, DIGEST);
  sha256(both, n + DIGEST, into);
}
