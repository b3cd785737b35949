"""Real gdbs: every test that takes `gdb` runs under Debian's and under the environment's."""

from __future__ import annotations

import pytest
from gdb_harness import GDBS, Gdb


@pytest.fixture(params=GDBS)
def gdb(request: pytest.FixtureRequest) -> Gdb:
    path = GDBS[request.param]
    assert path.exists(), f"{path} is missing; `make setup` installs it"
    return Gdb(path)
