# Two stages: the first has a compiler and makes a virtual environment, the second has only what runs.
#   docker build -t ziggurat . && docker run --rm -p 8080:8080 -v "$PWD/models:/mnt/models:ro" ziggurat
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY native native
COPY service service
# Every instruction set is compiled in and chosen when it starts, so the image runs on any x86-64 machine.
RUN python -m venv /opt/ziggurat \
 && /opt/ziggurat/bin/pip install --no-cache-dir .

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
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ziggurat"]
CMD ["serve", "/mnt/models"]
