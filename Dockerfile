# pgdrill with the programs of PostgreSQL 15, server and client: it backs up, and drills in a throwaway server of its own.
#
#   docker build -t pgdrill:0.1.0 .
#
# BASE may be any Debian 12. PGDRILL_UID is the account that archives belong to. LOCALES are those of the databases that are
# drilled: postgres:15 makes its own with en_US.utf8. MAJORS brings more majors than 15, such as "16 17".
ARG BASE=debian:bookworm-20250811-slim

FROM ${BASE} AS runtime
ARG LOCALES="en_US es_CO es_ES"
RUN apt-get update -q \
 && apt-get install -qy --no-install-recommends ca-certificates locales postgresql-common python3-venv tzdata \
 # Installing a server would make a cluster that nobody wants.
 && sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
 && apt-get install -qy --no-install-recommends postgresql-15 \
 && for name in $LOCALES; do localedef -i "$name" -f UTF-8 "$name.UTF-8" || exit 1; done \
 && rm -rf /var/lib/apt/lists/*

FROM runtime AS build
ARG PIP_INDEX_URL
RUN python3 -m venv /opt/pgdrill
WORKDIR /src
COPY image.lock ./
RUN /opt/pgdrill/bin/pip install -q --no-cache-dir --require-hashes -r image.lock
COPY pyproject.toml README.md LICENSE ./
COPY backup_lib backup_lib
COPY verification verification
RUN /opt/pgdrill/bin/pip install -q --no-cache-dir --no-deps .

FROM runtime
ARG PGDRILL_UID=1000
ARG MAJORS=""
ENV LANG=C.UTF-8 PATH=/opt/pgdrill/bin:/usr/sbin:/usr/bin:/sbin:/bin XDG_CACHE_HOME=/var/cache/pgdrill
RUN useradd --uid "$PGDRILL_UID" --user-group --home-dir /data pgdrill \
 && install -d -o pgdrill -g pgdrill -m 700 /data /data/backups /data/reports \
 && install -d -o pgdrill -g pgdrill /var/cache/pgdrill
COPY --from=build /opt/pgdrill /opt/pgdrill
USER pgdrill
RUN for major in $MAJORS; do pgdrill install-server "$major" || exit 1; done
WORKDIR /data
ENTRYPOINT ["pgdrill"]
CMD ["--help"]
