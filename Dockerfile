# Sightline in a container. BuildKit builds it (the default since Docker 23; before,
# DOCKER_BUILDKIT=1):
#
#	docker build --target cpu -t sightline:cpu .
#	docker buildx build --target cpu --platform linux/amd64,linux/arm64 -t sightline:cpu .
#	docker build --target jetson --build-arg JETSON_BASE=<JetPack image> -t sightline:jetson .
#
# Nothing runs in the target's architecture while building `cpu`, so an arm64 image
# needs no emulator on amd64, nor the other way round.
#
# To run one, as closed as it works:
#
#	docker run --detach --name sightline --hostname front-gate --restart unless-stopped \
#	  --read-only --cap-drop ALL --security-opt no-new-privileges \
#	  --memory 512m --cpus 2 --pids-limit 256 --tmpfs /tmp:size=64m,mode=1777,noexec,nosuid \
#	  --volume "$PWD/pipeline.yaml:/config/pipeline.yaml:ro" \
#	  --volume sightline:/var/lib/sightline \
#	  sightline:cpu
#
# Passwords go into files below /run/secrets (one more --volume, read-only), named by
# *_file in the pipeline. Status and metrics listen on the container's loopback alone:
# docker exec sightline /usr/bin/sightline health.

# The two bases are of one Debian release: libraries of the first run on the second.
ARG BUILD_BASE=golang:1.26-bookworm
ARG RUNTIME_BASE=debian:bookworm-slim
# NVIDIA's l4t-jetpack image for the JetPack release of the device, by its full name.
ARG JETSON_BASE=l4t-jetpack:r36.4.0

# ---- cpu ---------------------------------------------------------------------------

FROM --platform=$BUILDPLATFORM ${BUILD_BASE} AS build
ARG TARGETARCH
WORKDIR /src
COPY scripts scripts
RUN scripts/setup cross "$TARGETARCH"
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN scripts/image-root "$TARGETARCH" "$VERSION" /image

FROM ${RUNTIME_BASE} AS cpu
COPY --from=build /image/root/ /
COPY --from=build --chown=65532:65532 /image/state/ /var/lib/sightline/
ENV SIGHTLINE_ONNXRUNTIME=/usr/lib/sightline/libonnxruntime.so \
	SIGHTLINE_STATE=/var/lib/sightline \
	XDG_CACHE_HOME=/var/lib/sightline/cache
WORKDIR /var/lib/sightline
VOLUME /var/lib/sightline
USER 65532:65532
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
	CMD ["/usr/bin/sightline", "health"]
ENTRYPOINT ["/usr/bin/sightline"]
CMD ["run", "/config/pipeline.yaml"]

# ---- jetson ------------------------------------------------------------------------
# Built on JetPack itself, against its libraries; on the device or under emulation.
# Its CUDA and TensorRT serve ONNX Runtime when a build of it for that JetPack is given:
# mount it, and name it in SIGHTLINE_ONNXRUNTIME. The one inside runs on the CPU.

FROM ${BUILD_BASE} AS go

FROM ${JETSON_BASE} AS jetson-build
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /src
COPY scripts scripts
RUN scripts/setup build
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETARCH
ARG VERSION=unknown
RUN scripts/image-root "$TARGETARCH" "$VERSION" /image

FROM ${JETSON_BASE} AS jetson
COPY --from=jetson-build /image/root/ /
COPY --from=jetson-build --chown=65532:65532 /image/state/ /var/lib/sightline/
ENV SIGHTLINE_ONNXRUNTIME=/usr/lib/sightline/libonnxruntime.so \
	SIGHTLINE_STATE=/var/lib/sightline \
	XDG_CACHE_HOME=/var/lib/sightline/cache
WORKDIR /var/lib/sightline
VOLUME /var/lib/sightline
USER 65532:65532
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
	CMD ["/usr/bin/sightline", "health"]
ENTRYPOINT ["/usr/bin/sightline"]
CMD ["run", "/config/pipeline.yaml"]
