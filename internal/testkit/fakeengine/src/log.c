#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

static void say(const char *level, const char *spans, const char *target, const char *format, va_list args) {
  char line[2048];
  struct timespec now;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
  n += (size_t)snprintf(line + n, sizeof line - n, ".%06ldZ %s %s%s%s: ", now.tv_nsec / 1000, level, spans, *spans ? ": " : "", target);
  n += (size_t)vsnprintf(line + n, sizeof line - n, format, args);
  if (n > sizeof line - 2) n = sizeof line - 2;
  line[n++] = '\n';
  if (write(STDOUT_FILENO, line, n) < 0) return; // a log that cannot be written loses lines, as the real one's
}

#define LEVEL(name, level)                                                          \
  void name(const char *spans, const char *target, const char *format, ...) {     \
    va_list args;                                                                   \
    va_start(args, format);                                                         \
    say(level, spans, target, format, args);                                        \
    va_end(args);                                                                   \
  }

LEVEL(info, " INFO")
LEVEL(warn, " WARN")
LEVEL(fail, "ERROR")

const char *cause(int error) {
  static char text[128];
  if (error == 0) return "early eof";
  if (error < 0) return "failed to lookup address information: Name or service not known";
  snprintf(text, sizeof text, "%s (os error %d)", strerror(error), error);
  return text;
}

const char *hex(const uint8_t *digest) {
  static char text[2 * DIGEST + 1];
  for (int i = 0; i < DIGEST; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
  return text;
}
