# Two images, for the VPS and for game hosts, each with the engine:
#   docker build --target manager --tag rathole-manager .
#   docker build --target agent --tag rathole-agent .
# packaging/container/compose.yaml runs them.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./manager/rathole-manager ./agent/rathole-agent

# As `go run ./internal/tools rathole` builds it. The lock file that was published with 0.5.0 no longer compiles.
FROM rust:1-bookworm AS engine
RUN cargo install rathole --version 0.5.0 --no-default-features --features embedded --root /out

FROM debian:bookworm-slim AS base
COPY --from=engine /out/bin/rathole /usr/local/bin/rathole
# With --user 65532:65532 all engines run as that one user; as root, which is the default, each has a user of its own.
RUN groupadd --gid 65532 rathole && useradd --uid 65532 --gid 65532 --no-create-home --shell /usr/sbin/nologin rathole
# The service is process 1, and an init first: it reaps, starts a service that dies again, and ends all engines within 8 s of
# this signal.
STOPSIGNAL SIGTERM

FROM base AS manager
COPY --from=build /out/rathole-manager /usr/local/bin/rathole-manager
ENV RATHOLE_BINARY=/usr/local/bin/rathole RATHOLE_STATE_DIR=/var/lib/rathole-manager RATHOLE_LOG_DIR=/var/log/rathole-manager
RUN install -d -o rathole -g rathole -m 711 /var/lib/rathole-manager /var/log/rathole-manager
VOLUME ["/var/lib/rathole-manager", "/var/log/rathole-manager"]
EXPOSE 7001
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["rathole-manager", "list", "-o", "id"]
ENTRYPOINT ["/usr/local/bin/rathole-manager"]

FROM base AS agent
COPY --from=build /out/rathole-agent /usr/local/bin/rathole-agent
ENV RATHOLE_CLIENT_BINARY=/usr/local/bin/rathole RATHOLE_STATE_DIR=/var/lib/rathole-agent RATHOLE_LOG_DIR=/var/log/rathole-agent
RUN install -d -o rathole -g rathole -m 711 /var/lib/rathole-agent /var/log/rathole-agent
VOLUME ["/var/lib/rathole-agent", "/var/log/rathole-agent"]
EXPOSE 8081
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["rathole-agent", "list", "-o", "id"]
ENTRYPOINT ["/usr/local/bin/rathole-agent"]
