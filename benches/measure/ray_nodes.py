"""Cells measured on the nodes of a Ray cluster, one at a time on each, in a fresh process: `--ray-address`.

A record is on disk as soon as its cell is over, whichever it is; it tells the node's machine, load and versions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from benches.case import Params, Point
from benches.measure import isolated, machine, records, threads
from benches.measure.stopwatch import Measurement

PACKAGES = ("benches", "market")
"""What travels to the nodes, so that all measure the code that the driver has; everything else must be there."""


def _measure(table: str, case: str, params: Params) -> dict[str, Any]:
    """On a node: measure one cell in a process of its own. Returns what was seen, how it ended, and where."""
    import ray

    isolated.TABLE = table
    seen = Measurement()
    status, error = records.ending(lambda: isolated.measure_alone(isolated.point_of(table, case, params), seen))
    place = machine.machine() | {"ray_node": ray.get_runtime_context().get_node_id()}
    node = {"machine": place, "versions": machine.versions(), "threads": threads.observed()}
    return {"seen": dataclasses.asdict(seen), "status": status, "error": error, "node": node}


class Nodes:
    """The nodes of a running cluster. Cells start in order, each on whichever node is free, and have it alone."""

    def __init__(
        self, address: str, points: Sequence[Point], profile: str, keep: Callable[[records.Record], None]
    ) -> None:
        """keep: is given each record as soon as its cell is over. Raises ConnectionError where there is no cluster."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from market.rl.session import ray_session

        self.records: dict[str, records.Record] = {}
        self._ray, self._profile, self._keep, self._affinity = ray, profile, keep, NodeAffinitySchedulingStrategy
        self._waiting = list(points)
        self._running: dict[Any, tuple[Point, str]] = {}
        self._resources = ExitStack()
        self._resources.enter_context(ray_session(address, packages=[machine.ROOT / package for package in PACKAGES]))
        self._task: Any = ray.remote(_measure)

    def measure(self, point: Point, seen: Measurement) -> None:
        """Wait until this cell is over; others start and end meanwhile. What was measured is in `seen` and `records`.

        Raises Unsupported, or Failed with what happened on the node.
        """
        try:
            while point.key not in self.records:
                self._start()
                if not self._running:
                    raise records.Failed("the cluster has no node left that is alive")
                done, _ = self._ray.wait(list(self._running), num_returns=1)
                for reference in done:
                    self._end(reference, *self._running.pop(reference))
        except BaseException:  # a time-out: its node is for the next cell
            self._drop(point)
            raise
        record = self.records[point.key]
        seen.take(record)
        records.fail(record.status, record.error)

    def _start(self) -> None:
        """Give each idle node the next cell, and all of its processors with it."""
        busy = {node for _, node in self._running.values()}
        for node in self._ray.nodes():
            if not self._waiting:
                return
            if node["Alive"] and node["NodeID"] not in busy:
                point = self._waiting.pop(0)
                task = self._task.options(
                    max_retries=0,
                    num_cpus=node["Resources"].get("CPU", 0),
                    scheduling_strategy=self._affinity(node["NodeID"], soft=False),
                    name=point.label,
                )
                reference = task.remote(isolated.TABLE, point.case.name, dict(point.params))
                self._running[reference] = (point, node["NodeID"])

    def _end(self, reference: Any, point: Point, node: str) -> None:
        """Take over what a node found, or that it was lost."""
        try:
            told = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            text = f"node {node[:8]}: {records.one_line(error)}"
            told = {"seen": dataclasses.asdict(Measurement()), "status": "failed", "error": text, "node": {}}
        record = records.record_of(
            point, Measurement(**told["seen"]), status=told["status"], error=told["error"], profile=self._profile
        )
        record = dataclasses.replace(record, **told["node"])
        self._keep(record)
        self.records[point.key] = record

    def _drop(self, point: Point) -> None:
        """Give up a cell, wherever it is."""
        self._waiting = [other for other in self._waiting if other.key != point.key]
        for reference in [known for known, (other, _) in self._running.items() if other.key == point.key]:
            self._ray.cancel(reference, force=True)
            del self._running[reference]

    def close(self) -> None:
        """Leave the cluster, which goes on without us."""
        self._resources.close()
