# `contextpruner serve` with the packaged pruner; docs/serving.md says how to build and run it
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# an index of CPU wheels spares the image the CUDA libraries that torch brings from the default one
ARG PIP_EXTRA_INDEX_URL=""
COPY --from=build /wheels /wheels
COPY requirements/demo.txt requirements/test.txt /constraints/
# torch first and what is tested, so that nothing pulls another release
RUN pip install --no-cache-dir "$(grep '^torch==' /constraints/demo.txt)" \
    && pip install --no-cache-dir --constraint /constraints/demo.txt --constraint /constraints/test.txt \
        "$(echo /wheels/prunekit-*.whl)[serve]" \
    && useradd --create-home --uid 10001 pruner
USER pruner
WORKDIR /home/pruner
ENV PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["contextpruner", "serve", "--host", "0.0.0.0", "--port", "8000"]
