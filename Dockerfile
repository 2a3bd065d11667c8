# Container image of stream_lstm. Build: docker build -t stream-lstm .
# All packages are locked and checked by hash (requirements/*.txt).
# docker/compose.pinned.yaml builds on the image of this digest.
ARG PYTHON_IMAGE=python:3.13.15-slim-trixie
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/run.txt requirements/replay.txt requirements/build.txt requirements/
RUN python -m venv /opt/stream-lstm \
    && /opt/stream-lstm/bin/pip install --quiet --require-hashes --requirement requirements/run.txt --requirement requirements/replay.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY stream_lstm stream_lstm
# The service needs neither pip nor other packages' tests, headers, sources and stubs.
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/stream-lstm/bin/pip install --quiet --no-deps --no-index /wheels/*.whl \
    && /opt/stream-lstm/bin/pip uninstall --quiet --yes pip \
    && for level in $(/opt/stream-lstm/bin/python -c "import platform; print('x86-64-v3 x86-64-v2' if platform.machine() == 'x86_64' else 'generic')"); do \
        /opt/stream-lstm/bin/stream-lstm compile --level "$level" --into /opt/stream-lstm/share || exit 1; done \
    && find /opt/stream-lstm -type d \( -name tests -o -name f2py -o -name _pyinstaller -o -path "*/_core/include" \) -prune -exec rm -rf {} + \
    && find /opt/stream-lstm -type f -regex ".*\.\(pyi\|pyx\|pxd\|c\|h\|a\|hash\)" -delete

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="stream-lstm" \
      org.opencontainers.image.description="LSTM predictions for MQTT sensor streams, with exactly-once memory" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/stream-lstm /opt/stream-lstm
COPY configs/docker.toml /etc/stream-lstm/settings.toml
RUN install --directory --owner 10001 --group 10001 --mode 0700 /data
ENV PATH=/opt/stream-lstm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/data/.cache \
    STREAM_LSTM_CONFIG=/etc/stream-lstm/settings.toml
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s CMD ["stream-lstm", "healthcheck"]
ENTRYPOINT ["stream-lstm"]
CMD ["run"]
