# The command line with all it needs; Grafana and the database have images of their own.
ARG BASE=python:3.13.16-slim-bookworm

FROM ${BASE} AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY timeseries timeseries
COPY analytics analytics
COPY migrations migrations
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[metrics,plot]" \
    && useradd --system --uid 10001 --create-home timeseries
USER 10001
WORKDIR /home/timeseries
ENV MPLCONFIGDIR=/tmp
ENTRYPOINT ["timeseries"]
CMD ["--help"]
