# `contextpruner serve` with the packaged pruner; docs/serving.md says how to build and run it
FROM python:3.12-slim AS build
# an index of CPU wheels spares the image the CUDA libraries that torch brings from the default one
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# what is tested, as pinned; torch in a layer of its own, so that a change of the code does not fetch it again
COPY requirements/demo.txt requirements/test.txt requirements/
RUN python -m venv --without-pip /opt/prunekit \
    && pip --python /opt/prunekit install "$(grep '^torch==' requirements/demo.txt)"
COPY . .
RUN pip --python /opt/prunekit install --constraint requirements/demo.txt --constraint requirements/test.txt ".[serve]"

# the environment alone: no sources, no wheel, nothing that only builds
FROM python:3.12-slim
COPY --from=build /opt/prunekit /opt/prunekit
RUN useradd --create-home --uid 10001 pruner
# by number, which Kubernetes wants to see that it is not root
USER 10001
WORKDIR /home/pruner
ENV PATH=/opt/prunekit/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
# the first process of a container ignores SIGTERM until the server has set its handlers, an interrupt never
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["contextpruner", "serve", "--host", "0.0.0.0", "--port", "8000"]
