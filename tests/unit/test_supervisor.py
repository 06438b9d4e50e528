"""Tasks of the plugin: one that is cancelled early leaves no trace."""

from __future__ import annotations

import gc
import warnings

from components.runtime.supervisor import Supervisor
from tests.unit.fakes import Board, FakeClock


async def test_work_that_is_cancelled_before_it_began_is_no_mistake() -> None:
    supervisor = Supervisor(Board().notices, FakeClock())
    began = []

    async def work() -> None:
        began.append(True)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        task = supervisor.spawn("work", work())
        await supervisor.stop()
        del task
        gc.collect()
    assert began == []
    assert [str(warning.message) for warning in seen] == []
    assert supervisor.failures == {}
