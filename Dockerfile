# The receiver in a container: `make image` builds it, docs/guides/container.md says how to run it.
#
# BASE is any image with Python 3.11 or later, venv and pip; both stages use it. Everything is installed from wheels (no compiler,
# no package of the system), so the same file builds for amd64 and arm64.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python3 -m venv /opt/receiver && mkdir /empty
# With requirements-otel.txt, the image can also send traces.
ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} requirements.txt
# Two optional secrets, for an index of your own: pip's configuration, and the certificates that it trusts. Neither stays in the image.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    /opt/receiver/bin/pip install --require-hashes --only-binary=:all: --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY receiver receiver
# What only builds is taken out again, pip last.
RUN /opt/receiver/bin/pip install --no-index --no-deps --no-build-isolation . && \
    /opt/receiver/bin/pip uninstall --yes --quiet flit_core setuptools pip

FROM ${BASE}
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Parcel webhook receiver" \
      org.opencontainers.image.description="Receives parcel-tracking webhooks from Ship24 and Shiipp" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/receiver /opt/receiver
# A new volume gets the owner of this folder.
COPY --from=build --chown=10001:10001 /empty /data
ENV PATH=/opt/receiver/bin:/usr/local/bin:/usr/bin:/bin \
    RECEIVER_HOST=0.0.0.0
# Paths of settings count from here: the database is /data/receiver.db, the file of settings /config/receiver.toml.
WORKDIR /
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["receiver", "healthcheck"]
ENTRYPOINT ["receiver"]
CMD ["serve"]
