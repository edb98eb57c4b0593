# docker build -t image-audit .
# docker save app | docker run --rm -i image-audit scan -
# docker run --rm -v /var/run/docker.sock:/var/run/docker.sock --group-add "$(stat -c %g /var/run/docker.sock)" image-audit scan app
#
# For `registry` and `attest`, build with --build-arg EXTRAS=[fleet,attest]. BASE is any Debian with Python 3.11 or newer.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG EXTRAS=""
WORKDIR /src
COPY . .
# At the locked versions; what builds the wheel stays here.
RUN sed -n 's/^\([a-z0-9.-]*==[^ ;]*\).*/\1/p' requirements.lock >/tmp/locked \
    && python3 -m venv /tmp/build && python3 -m venv --without-pip /opt/image-audit \
    && /tmp/build/bin/pip install --no-cache-dir --constraint /tmp/locked hatchling \
    && /tmp/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && /tmp/build/bin/pip --python /opt/image-audit/bin/python install --no-cache-dir --constraint /tmp/locked \
        "$(echo /tmp/wheel/*.whl)${EXTRAS}"

FROM ${BASE}
LABEL org.opencontainers.image.title="image-audit" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/image-audit /opt/image-audit
# A user of a number alone: nothing in /etc changes. Caches last as long as the container, unless a volume lies there.
ENV PATH=/opt/image-audit/bin:$PATH \
    XDG_CACHE_HOME=/tmp/cache \
    HOME=/tmp
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["image-audit"]
CMD ["--help"]
