"""The few solvers held in memory, shared by all sessions; all state lives in the sessions' streams."""

import json
import threading
from collections import OrderedDict

from omegaconf import DictConfig

from lvis.cli.build import build
from lvis.cli.config import plain
from lvis.solvers.base import Solver

MOST_HELD = 4


class Solvers:
    """Builds a solver once per configuration and keeps the `MOST_HELD` last used."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Solver] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, config: DictConfig) -> Solver:
        """The solver of a composed conf/restore.yaml.

        Raises:
            UserError: its weights or its device are not available.
        """
        key = json.dumps(plain(config)["solver"], sort_keys=True)
        with self._lock:
            if key not in self._held:
                self._held[key] = build(config.solver)
            self._held.move_to_end(key)
            while len(self._held) > MOST_HELD:
                self._held.popitem(last=False)
            return self._held[key]
