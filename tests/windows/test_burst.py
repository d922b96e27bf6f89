"""A thousand pods at once on a hundred nodes, under upstream's limit of requests to EC2."""

from __future__ import annotations

import pytest

from tests.bench.windows import burst


@pytest.mark.spec("WIN-113", "WIN-125", "WIN-85")
def test_all_pods_of_a_burst_are_annotated() -> None:
    """In prefix mode one prefix a node is there already, so EC2 is hardly asked; secondary mode asks for every pod."""
    prefix, secondary = burst(nodes=20, pods=200, prefixes=True), burst(nodes=20, pods=200, prefixes=False)

    assert (prefix.annotated, secondary.annotated) == (200, 200)
    assert prefix.requests_per_pod < secondary.requests_per_pod
    assert prefix.seconds < secondary.seconds
