# One image for every role. Not built on the machine it was written on (no container engine there): see docs/operations.md.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY schemas schemas
COPY storage storage
COPY connectors connectors
COPY router router
COPY runner runner
COPY hub hub
COPY sandbox sandbox
COPY examples examples
RUN python -m venv /opt/triggerhub \
 && /opt/triggerhub/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="triggerhub" \
      org.opencontainers.image.description="Webhooks start agent sessions; results go back to where the work lives."
# A fixed number, so that a cluster can demand it (runAsNonRoot).
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin triggerhub
COPY --from=build /opt/triggerhub /opt/triggerhub
ENV PATH=/opt/triggerhub/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRIGGERHUB_CONFIG=/etc/triggerhub \
    TRIGGERHUB_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/triggerhub
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["triggerhub"]
CMD ["up", "--host", "0.0.0.0"]
