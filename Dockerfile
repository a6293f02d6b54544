# The image of all roles: `docker run IMAGE` starts the daemon, `docker run IMAGE status` is any other command.
# Debian 13, for uWebSockets.js needs its glibc (2.38 or later) on Node 22 and later.

FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY proto proto
COPY src src
RUN npm run -s build

FROM node:24-trixie-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# uWebSockets.js has binaries for every platform and version of Node, 250 MB: one of them is used.
RUN npm ci --omit=dev \
  && find node_modules/uWebSockets.js -name 'uws_*.node' \
    ! -name "$(node -p '`uws_${process.platform}_${process.arch}_${process.versions.modules}.node`')" -delete

FROM node:24-trixie-slim
ENV NODE_ENV=production MILLRACE_DATADIR=/data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/generated generated
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY proto proto
RUN install -d -o node -g node /data
USER node
VOLUME /data
EXPOSE 7070 7071 7072
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:7072/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist"]
