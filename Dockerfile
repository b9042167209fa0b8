# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl-dev npm pkg-config \
 && rm -rf /var/lib/apt/lists/*
# RUSTUP_TOOLCHAIN: the image's own compiler builds, and not the one that rust-toolchain.toml names,
# which would be fetched.
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/cache \
    export TIDEGATE_CACHE=/cache CARGO_TARGET_DIR=/cache/target RUSTUP_TOOLCHAIN=$RUST_VERSION \
 && cargo xtask setup \
 && cargo build --locked --profile dist --bin tidegate \
 && mkdir /out \
 && cp /cache/target/dist/tidegate /out/ \
 && cp .deps/duckdb/libduckdb.so /out/

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl libssl3 libstdc++6 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /var/lib/tidegate tidegate
COPY --from=build /out/libduckdb.so /usr/local/lib/
RUN ldconfig
COPY --from=build /out/tidegate /usr/local/bin/

USER tidegate
WORKDIR /var/lib/tidegate
VOLUME /var/lib/tidegate
# Needs `http.listen` at port 8080: "127.0.0.1:8080", or "0.0.0.0:8080" with tokens.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["curl", "-fsS", "http://127.0.0.1:8080/healthz"]
# SIGTERM commits and loads what is in flight before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tidegate"]
CMD ["run", "-c", "/etc/tidegate/tidegate.toml"]
