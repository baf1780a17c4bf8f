# The agent and what it needs to run, and nothing else: no shell, no package manager. For linux/amd64 and linux/arm64.
#
#   docker build --tag oom-witness .
#
# BASE only builds: it has glibc, npm on Node.js 20 or newer, and binutils. Pin it with --build-arg BASE=node@sha256:...
ARG BASE=node:26-trixie

FROM ${BASE} AS packages
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci

# Node.js as the lock file pins it (not BASE's), without its symbols: 150 MB become 116. The libraries, with the loader, are
# where the loader of BASE looks for them. Times are fixed, so that the same sources make the same layers.
FROM packages AS runtime
RUN mkdir -p /image/usr/bin /image/var/lib/oom-witness \
 && strip -o /image/usr/bin/node node_modules/node-linux-*/bin/node \
 && cp --parents --dereference $(ldd /image/usr/bin/node | grep -o '/[^ ]*') /image \
 && find /image -exec touch --date=@0 {} +

# Without what V8 has compiled: it is for the processor that builds.
FROM packages AS bundle
COPY build.ts ./
COPY schema schema
COPY sinks sinks
COPY src src
RUN npm run build \
 && mkdir -p /image/opt/oom-witness \
 && rm -r dist/compiled \
 && cp -R dist schema package.json /image/opt/oom-witness \
 && find /image -exec touch --date=@0 {} +

FROM scratch
# What changes seldom comes first.
COPY --from=runtime /image /
COPY --from=bundle /image /
# glibc's arenas and thresholds by default keep 2 to 8 MB that nothing uses.
ENV MALLOC_ARENA_MAX=1 \
    MALLOC_MMAP_THRESHOLD_=65536 \
    MALLOC_TRIM_THRESHOLD_=65536
# No USER: /dev/kmsg, process events and other processes' command lines are for root alone.
ENTRYPOINT ["/usr/bin/node", "--disable-warning=ExperimentalWarning", "--disable-warning=DEP0005", "--max-semi-space-size=1", "/opt/oom-witness/dist/src/main.js"]
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="oom-witness" \
      org.opencontainers.image.description="Sees every OOM kill on a Linux machine and tells who died and why" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
