# The program as a server in a container, on a PC (x86-64). For a Jetson there is Dockerfile.l4t.
#
#   docker build -t face-recognition .
#   docker build -t face-recognition --build-arg BASE_IMAGE=nvcr.io/nvidia/tensorrt:25.03-py3 .
#
# The first uses the processor, the second NVIDIA GPUs as well. The base must be Ubuntu 22.04 or newer; TensorRT is used
# if it has it. How to run the image: docs/install.md.

ARG BASE_IMAGE=ubuntu:24.04
# The default is a pinned tag; another one is chosen deliberately.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE}

ENV PIP_NO_CACHE_DIR=1
SHELL ["/bin/bash", "-o", "pipefail", "-euc"]

# Package versions are not pinned, because every security update would break the build.
# hadolint ignore=DL3008
RUN apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv; \
    rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY install/ install/
COPY app/ app/

# With `openvino` in addition, networks can be faster on processors of Intel. The base image's packages are found after
# those of the environment, if TensorRT is one of them.
ARG EXTRAS=cpu,video,fonts,photos,mqtt,metrics,serve
RUN /usr/bin/python3 install/environment.py /opt/venv --extras "$EXTRAS" --opencv headless; \
    base=$(/usr/bin/python3 -c 'import importlib.util as util, pathlib; \
    found = util.find_spec("tensorrt"); print(found and pathlib.Path(found.origin).parent.parent or "")'); \
    packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
    if [ -n "$base" ]; then echo "$base" > "$packages/base_image.pth"; fi

# The health check asks a server, or a run that is none on port 9464, which only programs in the container can reach.
COPY config.yaml ./
RUN printf '\nmonitoring:\n  port: 9464\nserve:\n  tokens: /data/tokens.json\n  audit_log: /data/audit.jsonl\n' >> config.yaml
COPY engines/ engines/
COPY gallery/README.md gallery/

# Not root. Use --build-arg USER_ID=$(id -u) so that files that the program writes into mounted folders belong to you.
# Ubuntu's image has a user of its own with the number 1000.
ARG USER_ID=1000
RUN if taken=$(getent passwd "$USER_ID"); then userdel --remove "${taken%%:*}"; fi; \
    useradd --uid "$USER_ID" --create-home --groups video face; \
    mkdir -p /data /out; \
    chown face: /app; \
    chown -R face: /app/engines /app/gallery /data /out; \
    chmod 700 /data
USER ${USER_ID}

VOLUME ["/app/gallery", "/app/engines", "/data"]
EXPOSE 8080

ENV PATH="/opt/venv/bin:$PATH" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The first start on a GPU builds engines for minutes.
HEALTHCHECK --interval=30s --timeout=15s --start-period=30m --retries=3 CMD ["python3", "-m", "app", "health"]
ENTRYPOINT ["python3", "-m", "app"]
CMD ["serve", "--host", "0.0.0.0"]
