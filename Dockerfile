# docker build -t storage-proxy .
# docker run -p 8080:8080 -v /mnt/share:/data \
#     -e STORAGE_PROXY_ACCESS__KEYS="$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')" storage-proxy
#
# The container listens on all its addresses, so it does not start without a key. Give it one of:
#   STORAGE_PROXY_ACCESS__KEYS="first, second"       clients send one as `Authorization: Bearer <key>`
#   STORAGE_PROXY_ACCESS__OPEN_TO_EVERYONE=true      nobody needs a key; say this only where nobody else can come
#   a file: -v ./production.toml:/etc/storage-proxy.toml:ro, and as command: serve --config /etc/storage-proxy.toml
#
# /data must be writable by uid 10001. SIGTERM drains: give it longer than [server] drain_seconds (20 by default), as
# in `docker stop --time 30`.

FROM node:22-slim AS page
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY web ./
RUN npm run build

FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt ./
COPY storage_proxy ./storage_proxy
COPY --from=page /build/storage_proxy/page ./storage_proxy/page
# In the final place already: a venv's scripts hold its path. pip itself is not copied along.
RUN python -m venv --without-pip /opt/storage-proxy \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && pip --python /opt/storage-proxy/bin/python install --no-cache-dir --constraint constraints.txt /wheels/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin storage-proxy \
    && install -d -o storage-proxy -m 750 /data
COPY --from=build /opt/storage-proxy /opt/storage-proxy
ENV PATH=/opt/storage-proxy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STORAGE_PROXY_LOG__FORMAT=json
USER 10001
WORKDIR /
VOLUME /data
EXPOSE 8080
# Asks where the default command listens; with another port or a base path, say --health-cmd (or a Kubernetes probe).
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["storage-proxy"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--data", "/data"]
