# One image for all roles: `gateway`, `ingest` and `processor` differ in their command only (docker-compose.yml).

FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-fund --no-audit
COPY tsconfig.json ./
COPY proto proto
COPY src src
RUN npm run -s build

FROM node:24-trixie-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# uWebSockets.js brings a binary for each platform and version of Node: one of them is needed.
RUN npm ci --omit=dev --no-fund --no-audit \
  && find node_modules/uWebSockets.js -name 'uws_*.node' \
    ! -name "uws_linux_$(node -p process.arch)_$(node -p process.versions.modules).node" -delete \
  && npm cache clean --force

FROM node:24-trixie-slim
ENV NODE_ENV=production MILLRACE_DATADIR=/data
RUN mkdir /data && chown node:node /data
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY --from=build /app/generated generated
COPY package.json ./
COPY proto proto
USER node
VOLUME /data
EXPOSE 7070 7072
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:7072/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist"]
CMD ["start"]
