// A stand-in for rathole 0.5.0, for measurements with more engines than a machine can run, and for nothing else. What the
// services see of an engine, it does as the real one: its answers, the lines of its log, its sockets and the bytes on them,
// how it takes a new config and how it ends. It speaks plain TCP only, and forwards nothing.
//
// It is C because five thousand of them must leave the machine to what is measured: one thread and a tenth of a MiB each,
// where Go needs five and one, and the real one four and half of one. A C compiler is wherever cargo can link the real one.
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NAME = 65, TEXT = 300, POOL = 16, DIGEST = 32, HELLO = 4 + 1 + DIGEST };

// A connection, a listener or any other descriptor that the loop watches.
struct watched {
  int fd;
  void (*ready)(struct watched *, uint32_t events);
  struct service *service;
  char spans[TEXT];        // of the log lines about it
  uint8_t buffer[HELLO];   // a message that comes in pieces
  uint8_t expected[DIGEST]; // server: the answer to its challenge
  size_t have;
  bool dead;               // closed; freed once the loop's round is over
  struct watched *next;
};

struct service {
  char name[NAME], token[TEXT], address[TEXT];
  bool udp;
  long retry;              // client: the longest pause between two attempts, in seconds
  uint8_t digest[DIGEST];  // of the name
  uint8_t key[DIGEST];     // of the session: the digest of token and nonce
  struct watched *control; // the control channel
  struct watched *port;    // server: the public port
  struct watched *carrier; // server, UDP: the data channel in use
  struct watched *idle[POOL];
  int idles;
  int visitors;            // server, TCP: how many wait for a data channel
  char spans[TEXT];
  int64_t at;              // ms: the next heartbeat, attempt or time-out; 0: none
  int64_t open_at;         // ms, server: the next attempt to open the public port; 0: none
  int64_t since;           // ms, client: when the attempt began
  double pause;            // ms before the next attempt, without jitter
  struct service *next;
};

struct config {
  char address[TEXT], token[TEXT];
  long heartbeat, retry;   // seconds
  char rest[4096];         // all of it but the services, for comparison
  struct service *services;
};

// What a server and a client do differently.
struct half {
  const char *section, *change;
  void (*start)(void), (*stop)(void);
  void (*add)(struct service *), (*remove)(struct service *);
  void (*tick)(struct service *, int64_t now);
};

extern const struct half server_half, client_half;
extern struct config config; // the one that runs

// config.c
const char *config_read(const char *path, const struct half *, struct config *into); // what is wrong, or NULL
bool config_same(const struct service *, const struct service *);
void config_free(struct config *);

// loop.c
int64_t now_ms(void);
struct watched *watch(int fd, uint32_t events, void (*ready)(struct watched *, uint32_t));
void watch_for(struct watched *, uint32_t events, void (*ready)(struct watched *, uint32_t)); // from now on
void forget(struct watched *); // closes it; NULL is fine
bool gather(struct watched *, size_t size, bool *whole); // reads up to size bytes; false at the end of the connection
void loop(const struct half *) __attribute__((noreturn));
double jitter(double ms, double part);

// net.c
struct address { uint8_t bytes[128]; unsigned length; };
bool resolve(const char *text, struct address *);
int open_port(const char *text, bool udp); // -1 with errno
int dial(const char *text);                // under way or done; -1 with errno
bool send_hello(int fd, uint32_t variant, const uint8_t *digest);
bool send_number(int fd, uint32_t);
void prove(const char *token, const uint8_t *nonce, uint8_t *into);

// log.c
void info(const char *spans, const char *target, const char *format, ...) __attribute__((format(printf, 3, 4)));
void warn(const char *spans, const char *target, const char *format, ...) __attribute__((format(printf, 3, 4)));
void fail(const char *spans, const char *target, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *cause(int error); // as rathole words it
const char *hex(const uint8_t *digest);

void sha256(const void *data, size_t size, uint8_t *into);

enum { HELLO_CONTROL, HELLO_DATA };
enum { ACK_OK, ACK_NO_SERVICE, ACK_REFUSED };
enum { CREATE_DATA_CHANNEL, HEARTBEAT };
enum { FORWARD_TCP, FORWARD_UDP };

#endif
