# Two stages: the first has a compiler and makes a virtual environment, the second has only what runs.
#   docker build -t ziggurat . && docker run --rm -p 8080:8080 -v "$PWD/models:/mnt/models:ro" ziggurat
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY native native
COPY service service
# Every instruction set is compiled in and chosen when it starts, so the image runs on any x86-64 machine.
# What the server never imports stays behind: pip, and the tests of packages, a fifth of the environment together.
RUN python -m venv --without-pip /opt/ziggurat \
 && pip --python /opt/ziggurat/bin/python install --no-cache-dir . \
 && find /opt/ziggurat -type d '(' -path '*/onnx/backend/test' -o -path '*/numpy/*tests' ')' -prune -exec rm -r {} +

FROM python:${PYTHON}-slim-bookworm
COPY --from=build /opt/ziggurat /opt/ziggurat
# The file system may be read-only and the user is nobody in particular: nothing is written but to /tmp, if at all.
ENV PATH=/opt/ziggurat/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ZIGGURAT_SERVER__HOST=0.0.0.0 \
    ZIGGURAT_SERVER__PORT=8080
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['ZIGGURAT_SERVER__PORT'] + '/v2/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ziggurat"]
CMD ["serve", "/mnt/models"]
