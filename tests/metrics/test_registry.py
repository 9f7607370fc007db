"""One registry: what a metric is called, rounded to and read as, for the evaluation's tables and the report's."""

from collections import Counter

from lvis.metrics.registry import METRICS, STREAM, ZERO
from lvis.report.quantities import is_known, quantity


def test_no_two_metrics_share_a_title():
    assert max(Counter(metric.title for metric in METRICS.values()).values()) == 1


def test_the_report_reads_every_metric_from_the_registry():
    for metric in METRICS.values():
        column = quantity(metric.key)
        assert is_known(metric.key) and (column.better or column.direction == ZERO)
        assert (column.title, column.unit, column.digits) == (
            metric.title,
            metric.unit,
            metric.digits,
        )
        assert column.is_speed == (metric.of == STREAM)


def test_a_protocol_of_a_known_family_has_its_direction():
    assert quantity("lpips_squeeze").title == "LPIPS squeeze" and quantity("fvd_long").better < 0
    assert quantity("sharpness").better == 0 and not is_known("sharpness")
