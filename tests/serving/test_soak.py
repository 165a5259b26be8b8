"""A short soak: see soak.py for the long one."""

import sys

import pytest

from tests.serving.soak import soak


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nobody_notices_those_who_leave_and_those_who_send_rubbish(checkpoint):
    outcome = soak(checkpoint, clients=30, seconds=15)
    assert outcome.problems == []
    assert all(outcome.counts[kind] > 0 for kind in ("patient", "left", "rubbish"))
    assert outcome.figures["k2_aborted_total"][1] > outcome.figures["k2_aborted_total"][0]
