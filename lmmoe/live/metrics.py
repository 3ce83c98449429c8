"""Counts of a watch for Prometheus, over HTTP. Needs the package prometheus-client."""

import math
from collections.abc import Iterator

from lmmoe.errors import DataError
from lmmoe.live.watch import Watch

# Seconds: a row takes a tenth of a millisecond, a slow detector or machine a thousand times that.
BUCKETS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1, 1.0)


class Server:
    """Serves a watch's counts on a port; made by `serve`."""

    def __init__(self, watch: Watch, port: int, host: str) -> None:
        import prometheus_client as client
        from prometheus_client import core

        registry = client.CollectorRegistry()
        self._watch, self._core = watch, core
        self._latency = client.Histogram(
            "lmmoe_row_seconds",
            "Time from a line to its verdict",
            registry=registry,
            buckets=BUCKETS,
        )
        registry.register(self)
        self._server, self._thread = client.start_http_server(port, host, registry)

    @property
    def port(self) -> int:
        """The port in use, which the system chose where 0 was asked for."""
        return self._server.server_port

    def observe(self, seconds: float) -> None:
        """Count how long a line took."""
        self._latency.observe(seconds)

    def collect(self) -> Iterator[object]:
        """Give the counts as they are; the client library calls this when it is asked."""
        core, watch = self._core, self._watch
        for name, text, value in (
            ("lmmoe_rows", "Rows read", watch.rows),
            ("lmmoe_rows_scored", "Rows with a score", watch.scored),
            ("lmmoe_alarms", "Alarms opened", watch.alarms),
        ):
            yield core.CounterMetricFamily(name, text, value=value)
        for name, text, counts in (
            ("lmmoe_rows_skipped", "Rows left out, by reason", watch.skipped),
            ("lmmoe_rows_unscored", "Rows taken in without a score, by reason", watch.unscored),
            ("lmmoe_mended", "Cells and columns that were not as they should be", watch.mended),
            ("lmmoe_events", "Gaps and the like", watch.events),
        ):
            family = core.CounterMetricFamily(name, text, labels=["kind"])
            for kind, count in dict(counts).items():
                family.add_metric([kind], count)
            yield family
        alarm = watch.stream.alarm
        yield core.GaugeMetricFamily("lmmoe_alarm_open", "1 in an alarm", value=alarm.open)
        yield core.GaugeMetricFamily("lmmoe_threshold", "Score of alarm", value=alarm.threshold)
        latest = watch.clock.latest
        yield core.GaugeMetricFamily(
            "lmmoe_latest_row_time",
            "Time of the latest row, seconds since 1970 where rows have dates",
            value=math.nan if latest is None else latest,
        )

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(watch: Watch, port: int, host: str = "127.0.0.1") -> Server:
    """Start to serve; `DataError` where the port or the client library cannot be had."""
    try:
        return Server(watch, port, host)
    except ImportError as error:
        problem = "metrics need the package prometheus-client"
        raise DataError(problem, hint="pip install 'lmmoe[live]'") from error
    except (OSError, OverflowError) as error:
        raise DataError(f"no metrics on {host} port {port}: {error}") from error
