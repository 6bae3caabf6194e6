"""The jobs of each queue, for Prometheus. In: the counts that this node took last. Out: gauges with labels.

They are about all nodes together, and each node that runs jobs shows them: take the largest, not the sum.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from ..actors.jobs.figures import Figures


def queue_metrics(figures: Figures) -> Iterator[Metric]:
    """What each queue holds, and how long the job that is due for longest has waited."""
    jobs = GaugeMetricFamily("tertulia_jobs_queue_jobs", "Jobs of a queue, as counted last.", labels=("queue", "state"))
    for count in figures.counts:
        jobs.add_metric((count.queue, count.state), count.jobs)
    yield jobs
    lags = GaugeMetricFamily(
        "tertulia_jobs_queue_lag_seconds", "How long the oldest job of a queue has waited.", labels=("queue",)
    )
    for queue, seconds in figures.lags.items():
        lags.add_metric((queue,), seconds)
    yield lags
